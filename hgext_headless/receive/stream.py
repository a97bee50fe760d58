"""The body of a push: a bundle2 stream, or a bare changegroup, that is not trusted.

Its bytes are counted, and a single read is limited. A compressed bundle2 stream is refused: no
client sends one, and 58 KB of zstd can become 1.8 GB.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import itertools
import tempfile
from collections.abc import Iterator
from typing import Any

from mercurial import error, wireprototypes

from .. import config, errors, hgcompat
from ..backend import Backend
from ..bundles import changegroups
from ..errors import HeadlessError, Refused, Temporary

#: Maximum size of one read in bytes. hg's payload chunks have 32 KB.
MAX_READ = 64 * 1024 * 1024
#: Maximum size of the stream's parameters in bytes. hg sends none with a push.
_MAX_PARAMETERS = 64 * 1024
#: The first bytes of a body (``hg help internals.bundles``). Over ssh a bare changegroup has no
#: header: it begins with the size of its first chunk.
_BUNDLE2 = b'HG20'
_BUNDLES1 = (b'HG10UN', b'HG10GZ', b'HG10BZ', b'\0')
_MAGIC = 6
#: Of less, Mercurial would write to the server's own stderr that it has ended.
_LEAST = 4
#: How many times as large a bare changegroup may become when it is decompressed, how many bytes it
#: may have in any case, and how many are decompressed at a time.
_MOST_TIMES, _ANYWAY, _PIECE = 50, 64 << 20, 16 << 20
#: The number of bytes that have arrived of the push that is being received.
_arrived: contextvars.ContextVar[list[int]] = contextvars.ContextVar('arrived')


class Body:
    """The body of a push, with its bytes counted. bundle2 knows the size of each read.

    `read` raises `Refused` beyond the limits, and `Temporary` if the stream ends early. After
    an error each further read raises it again, so that nothing behind it is read. ``source``
    and ``url`` say where the push comes from, as Mercurial's hooks tell it.
    """

    def __init__(self, stream: Any, limit: int, source: bytes, url: bytes) -> None:
        self._stream = stream
        self._left = self._limit = limit
        self._ended: HeadlessError | None = None
        self.source = source
        self.url = url
        #: Maximum size of one read in bytes.
        self.largest = _MAX_PARAMETERS

    def end(self, error: HeadlessError) -> HeadlessError:
        """Make each further read raise ``error``; return it."""
        self._ended = error
        return error

    def read(self, size: int) -> bytes:
        if self._ended:
            raise self._ended
        if size > self.largest:
            raise self.end(Refused(f'a single chunk of the stream has {size} bytes'))
        if size > self._left:
            raise self.end(too_large(self._limit))
        data: bytes = self._stream.read(size)
        if len(data) < size:
            raise self.end(Temporary('the push broke off before its end'))
        self._left -= len(data)
        return data


class _Decompressed:
    """The stream of a bare changegroup, which zlib can make a thousand times as large."""

    def __init__(self, stream: Any, arrived: list[int]) -> None:
        self._stream = stream
        self._arrived = arrived
        self._made = 0

    def read(self, size: int) -> bytes:
        pieces = [self._piece(min(_PIECE, size - at)) for at in range(0, size, _PIECE)]
        return pieces[0] if len(pieces) == 1 else b''.join(pieces)

    def _piece(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._made += len(data)
        if self._made > _ANYWAY + _MOST_TIMES * self._arrived[0]:
            raise Refused(f'the push is more than {_MOST_TIMES} times as large when decompressed')
        return data


def too_large(limit: int) -> Refused:
    return Refused(f'the push has more than headless.max-push-size ({limit} bytes)')


def receive(orig: Any, repo: Any, proto: Any, heads: Any) -> Any:
    """The wire command ``unbundle``: receive the body of a push by `_payload`."""
    if not config.participates(repo):
        return orig(repo, proto, heads)
    getpayload = proto.getpayload
    arrived = [0]
    proto.getpayload = functools.partial(_payload, getpayload, repo, repo.headless, arrived)
    token = _arrived.set(arrived)
    try:
        # `receive.parts` checks the heads, if the push changes public history.
        return orig(repo, proto, wireprototypes.encodelist([b'force']))
    finally:
        _arrived.reset(token)
        proto.getpayload = getpayload


def _payload(orig: Any, repo: Any, backend: Backend, arrived: list[int]) -> Iterator[bytes]:
    """Yield the body of a push, and count it."""
    with _in_the_reply(repo.ui):
        chunks = iter(orig())
        beginning = b''
        while len(beginning) < _MAGIC and (more := next(chunks, b'')):
            beginning += more
        if len(beginning) < _LEAST or not beginning.startswith((_BUNDLE2, *_BUNDLES1)):
            raise Refused('what was sent is not a bundle')
        if beginning.startswith(_BUNDLE2):
            limit = backend.settings.max_push_size
            announced = repo.ui.environ.get(b'CONTENT_LENGTH', b'')
            if announced.isdigit() and int(announced) > limit + len(_BUNDLE2):
                raise too_large(limit)
        for chunk in itertools.chain([beginning], chunks):
            arrived[0] += len(chunk)
            yield chunk


def bound(ui: Any, bundle: Any, limit: int, source: bytes, url: bytes) -> None:
    """Let a bundle2 unbundler read from a `Body`, and check the parameters of its stream."""
    body = Body(hgcompat.stream_of(bundle), limit, source, url)
    with _in_the_reply(ui), readable():
        hgcompat.replace_stream(bundle, body)
        if b'Compression' in bundle.params:
            raise Refused('a push may not be compressed')
        body.largest = MAX_READ


def of_changegroup(unpacker: Any, limit: int) -> Body:
    """Return the body of a push that is a bare changegroup."""
    found = hgcompat.changegroup_stream(unpacker)
    if found is None:
        raise Refused('a push may not be compressed by bzip2')
    arrived = _arrived.get(None)  # none of a push by path, which nothing compresses
    body = Body(found if arrived is None else _Decompressed(found, arrived), limit, b'', b'')
    body.largest = changegroups.MAX_ENTRY
    return body


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
        params = hgcompat.escaped(b' '.join(exc.params))
        raise Refused(f'a push may not have the parameter {params} of a stream') from exc
    except error.Abort as exc:
        raise Refused(f'the bundle is garbled: {hgcompat.to_str(exc.message).strip()}') from exc
    except OSError as exc:
        raise errors.file_failed('the push could not be kept', exc, tempfile.gettempdir()) from exc
    except hgcompat.GARBLED as exc:
        raise Refused(f'the bundle is garbled ({type(exc).__name__})') from exc
