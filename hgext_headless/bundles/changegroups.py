"""Changegroups as files: normalize an incoming one, splice several into one.

The format is that of ``hg help internals.changegroups``. An incoming changegroup is rewritten
as version 02. Its entries name their delta bases, so that groups of several changegroups can be
concatenated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from mercurial import changegroup, error, mdiff, pathutil
from mercurial.node import nullid

from .. import hgcompat
from ..errors import Refused

#: Versions that can be read; 03 only without flags and tree manifests.
READABLE = (b'01', b'02', b'03')

#: Maximum size of one entry in bytes: it is held in memory.
MAX_ENTRY = 512 * 1024 * 1024


class BoundedStream:
    """A stream that reads exactly ``size`` bytes, and refuses a ``size`` above `MAX_ENTRY`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes. Raise `Refused` if that is too many, or the stream ends early."""
        if size > MAX_ENTRY:
            raise Refused(f'one entry of the changegroup has {size} bytes, more than {MAX_ENTRY}')
        data: bytes = self._stream.read(size)
        if len(data) < size:
            raise Refused('the changegroup ends early')
        return data


def check_file_name(name: bytes) -> None:
    """Raise `Refused` if a file name leaves the working directory or enters ``.hg``.

    hg itself checks this on update, not on push.
    """
    try:
        pathutil.pathauditor(b'/', realfs=False)(name)
    except error.Abort as exc:
        raise Refused(f"file name '{hgcompat.escaped(name)}' is not allowed") from exc
    parts = name.split(b'/')
    if b'' in parts or b'.' in parts or b'\0' in name or b'\n' in name or b'\r' in name:
        raise Refused(f"file name '{hgcompat.escaped(name)}' is not allowed")


def normalized(stream: Any, version: bytes, changesets: list[hgcompat.Delta]) -> Iterator[bytes]:
    """Yield the chunks of an incoming changegroup, checked and converted to version 02.

    Append the changelog's entries, without their deltas, to ``changesets`` as they are read.
    Raise `Refused` if the changegroup is not acceptable.
    """
    if version not in READABLE:
        raise Refused(f'changegroup version {hgcompat.escaped(version)} is not supported')
    unpacker = changegroup.getunbundler(version, BoundedStream(stream), None)
    unpacker.changelogheader()
    for entry in hgcompat.deltas(unpacker):
        changesets.append(entry._replace(delta=b''))
        yield from _chunks(entry)
    yield changegroup.closechunk()
    unpacker.manifestheader()
    for entry in hgcompat.deltas(unpacker):
        yield from _chunks(entry)
    yield changegroup.closechunk()
    if version == b'03' and unpacker.filelogheader():
        raise Refused('tree manifests are not supported')
    for header in iter(unpacker.filelogheader, {}):
        name = header[b'filename']
        check_file_name(name)
        yield from _file_header(name)
        for entry in hgcompat.deltas(unpacker):
            yield from _chunks(entry)
        yield changegroup.closechunk()
    yield changegroup.closechunk()


def _chunks(entry: hgcompat.Delta) -> Iterator[bytes]:
    if entry.flags:
        raise Refused(
            'revisions with flags (LFS files, censored or partial revisions) are not supported'
        )
    return entry.chunks()


def _file_header(name: bytes) -> Iterator[bytes]:
    yield changegroup.chunkheader(len(name))
    yield name


def unpack(file: Any, version: bytes) -> Any:
    """Return an unpacker for the uncompressed changegroup in ``file``."""
    return changegroup.getunbundler(version, file, b'UN')


def file_groups(unpacker: Any) -> Iterator[bytes]:
    """Yield the file names of a changegroup. The caller must read each file's group."""
    for header in iter(unpacker.filelogheader, {}):
        yield header[b'filename']


def spliced(layers: Iterable[Any]) -> Iterator[bytes]:
    """Yield the chunks of one changegroup 02 with all entries of the unpackers ``layers``.

    Entries keep the order of the layers, so that a layer may build on earlier ones. An entry
    that occurs twice is written once. The unpackers' files must be seekable.
    """
    unpackers = list(layers)
    for unpacker in unpackers:
        unpacker.changelogheader()
    yield from _merged_group(unpackers)
    for unpacker in unpackers:
        unpacker.manifestheader()
    yield from _merged_group(unpackers)
    offsets: dict[bytes, list[tuple[Any, int]]] = {}
    for unpacker in unpackers:
        for name in file_groups(unpacker):
            offsets.setdefault(name, []).append((unpacker, unpacker.tell()))
            hgcompat.skip_group(unpacker)
    for name in sorted(offsets):
        yield from _file_header(name)
        yield from _merged_group(_at_offsets(offsets[name]))
    yield changegroup.closechunk()


def reordered(
    file: BinaryIO, changesets: Iterable[hgcompat.Delta], text: Callable[[bytes], bytes]
) -> Iterator[bytes]:
    """Yield the chunks of the changegroup 02 in ``file``, its changelog in another order.

    ``changesets`` are the entries of its changelog, parents first; ``text`` returns the text of
    one by its node. Each is written whole, because its delta base may come after it.
    """
    for entry in changesets:
        content = text(entry.node)
        delta = mdiff.trivialdiffheader(len(content)) + content
        yield from entry._replace(base=nullid, delta=delta).chunks()
    yield changegroup.closechunk()
    unpacker = unpack(file, b'02')
    unpacker.changelogheader()
    hgcompat.skip_group(unpacker)
    yield from iter(lambda: file.read(1 << 20), b'')


def _at_offsets(offsets: Iterable[tuple[Any, int]]) -> Iterator[Any]:
    for unpacker, offset in offsets:
        unpacker.seek(offset)
        yield unpacker


def _merged_group(unpackers: Iterable[Any]) -> Iterator[bytes]:
    seen = set()
    for unpacker in unpackers:
        for entry in hgcompat.deltas(unpacker):
            if entry.node not in seen:
                seen.add(entry.node)
                yield from entry.chunks()
    yield changegroup.closechunk()
