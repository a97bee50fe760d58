"""The body of a push: a bundle2 stream that is not trusted.

Mercurial's own readers decompress everything that one read from the network brought: 58 KB of
zstd can become 1.8 GB. These readers decompress only what is asked for, count all of it, and
limit the size of a single read.
"""

from __future__ import annotations

import bz2
import contextlib
import threading
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

from mercurial import error

from .. import errors, hgcompat
from ..backend import Backend
from ..errors import HeadlessError, Refused, Temporary

#: Maximum size of one read in bytes. hg's payload chunks have 32 KB.
MAX_READ = 64 * 1024 * 1024
_INPUT = 64 * 1024
_ZSTD_WINDOW = 1 << 27
#: The first bytes of a body (``hg help internals.bundles``).
_BUNDLE2 = b'HG20'
_BUNDLES1 = (b'HG10UN', b'HG10GZ', b'HG10BZ')
_MAGIC = 6


class _Source(Protocol):
    def read(self, size: int) -> bytes: ...


class _Inflated:
    """A stream over a zlib or bz2 decompressor that decompresses only what a read asks for."""

    def __init__(self, source: _Source, decompressor: Any) -> None:
        self._source = source
        self._decompressor = decompressor

    def _more(self, size: int) -> bytes:
        decompressor = self._decompressor
        while not decompressor.eof:
            pending = getattr(decompressor, 'unconsumed_tail', b'')
            if not pending and getattr(decompressor, 'needs_input', True):
                pending = self._source.read(_INPUT)
                if not pending:
                    break
            data: bytes = decompressor.decompress(pending, size)
            if data:
                return data
        return b''

    def read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            more = self._more(size - len(found))
            if not more:
                break
            found += more
        return bytes(found)


def _zstd(source: _Source) -> _Source:
    decompressor = hgcompat.zstd().ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    reader: _Source = decompressor.stream_reader(source)
    return reader


_READERS: dict[bytes, Any] = {
    b'UN': lambda source: source,
    b'GZ': lambda source: _Inflated(source, zlib.decompressobj()),
    b'BZ': lambda source: _Inflated(source, bz2.BZ2Decompressor()),
    b'ZS': _zstd,
}


class BoundedStream:
    """The decompressed stream, with its bytes counted. bundle2 knows the size of each read.

    `read` raises `Refused` beyond the limits, and `Temporary` if the stream ends early. After
    an error each further read raises it again, so that nothing behind it is read.
    """

    def __init__(self, source: _Source, compression: bytes, limit: int) -> None:
        self._stream = _READERS[compression](source)
        self._left = limit
        self._limit = limit
        self._ended: HeadlessError | None = None

    def end(self, error: HeadlessError) -> HeadlessError:
        """Make each further read raise ``error``; return it."""
        self._ended = error
        return error

    def read(self, size: int) -> bytes:
        if self._ended:
            raise self._ended
        if size > MAX_READ:
            raise self.end(Refused(f'a single chunk of the stream has {size} bytes'))
        if size > self._left:
            raise self.end(too_large(self._limit))
        data: bytes = self._stream.read(size)
        if len(data) < size:
            raise self.end(Temporary('the push broke off before its end'))
        self._left -= len(data)
        return data


def too_large(limit: int) -> Refused:
    return Refused(f'the push has more than headless.max-push-size ({limit} bytes)')


class BoundedEngine:
    """A replacement for the compression engine of a bundle2 stream (`bundle2.unbundle20`)."""

    def __init__(self, compression: bytes, limit: int) -> None:
        if compression not in _READERS:
            raise Refused('the compression of the stream is not supported')
        self._compression = compression
        self._limit = limit

    def decompressorreader(self, source: _Source) -> BoundedStream:
        return BoundedStream(source, self._compression, self._limit)


def payload(orig: Any, repo: Any, backend: Backend) -> Iterator[bytes]:
    """Yield the body of a push.

    Import what the rest of the push needs while waiting for the body to begin. The two threads
    never run Python at the same time, which lazily imported modules do not support: while one
    imports, the other waits for the client, and then for the first.
    """
    with _in_the_reply(repo.ui):
        limit = backend.settings.max_push_size
        announced = repo.ui.environ.get(b'CONTENT_LENGTH', b'')
        # Compression never makes data larger by more than an eighth.
        if announced.isdigit() and int(announced) > limit + limit // 8 + MAX_READ:
            raise too_large(limit)
        thread = threading.Thread(target=backend.warm_up, daemon=True)
        thread.start()
        try:
            chunks = iter(orig())
            beginning = b''
            while len(beginning) < _MAGIC and (more := next(chunks, b'')):
                beginning += more
        finally:
            thread.join()
        if not beginning.startswith(_BUNDLE2) and beginning[: _MAGIC] not in _BUNDLES1:
            raise Refused('what was sent is no bundle')
        yield beginning
        yield from chunks


def check_stream(ui: Any, bundle: Any) -> None:
    """Read the parameters at the beginning of a bundle2 stream, to check it."""
    with _in_the_reply(ui), readable():
        _ = bundle.params


@contextlib.contextmanager
def _in_the_reply(ui: Any) -> Iterator[None]:
    """Send errors outside of parts to the client, in the same way as errors in parts."""
    try:
        with errors.no_traceback(ui, 'the push'):
            try:
                yield
            except (TypeError, ValueError) as exc:  # a number is missing
                raise Temporary('the push broke off before its end') from exc
    except error.Abort as exc:
        exc.duringunbundle2 = True
        raise


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Convert the errors that readers raise for a malformed bundle to `Refused` or `Temporary`."""
    try:
        yield
    except HeadlessError:
        raise
    except error.HookAbort:
        raise
    except error.BundleUnknownFeatureError as exc:
        part = hgcompat.escaped(exc.parttype or b'?')
        params = b' '.join(exc.params)
        with_params = f' with {hgcompat.escaped(params)}' if params else ''
        raise Refused(f'this server does not know the part {part}{with_params}') from exc
    except error.Abort as exc:
        raise Refused(f'the bundle is garbled: {hgcompat.to_str(exc.message).strip()}') from exc
    except OSError as exc:
        if exc.errno is None:  # raised by a decompressor
            raise Refused('the bundle is garbled') from exc
        raise Temporary(f'the push could not be kept: {exc.strerror}') from exc
    except hgcompat.GARBLED as exc:
        raise Refused(f'the bundle is garbled ({type(exc).__name__})') from exc
