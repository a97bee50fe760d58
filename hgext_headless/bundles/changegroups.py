"""Changegroups as files: normalizing what comes in, splicing several into one.

The format is that of ``hg help internals.changegroups``. Whatever came in is
kept as version 02, whose entries name their delta bases, so that groups of
several changegroups can stand one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from mercurial import changegroup, error, pathutil

from .. import hgcompat
from ..errors import Refused

#: The versions that are read; 03 without flags and without tree manifests.
READABLE = (b'01', b'02', b'03')

#: Bytes of one entry: it has to be held in memory.
MAX_ENTRY = 512 * 1024 * 1024


class BoundedStream:
    """A stream that hands out all that it is asked for, and no more at once than
    an entry may have. Raises `Refused`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        if size > MAX_ENTRY:
            raise Refused(
                f'one entry of the changegroup has {size} bytes, more than {MAX_ENTRY}'
            )
        data: bytes = self._stream.read(size)
        if len(data) < size:
            raise Refused('the changegroup ends early')
        return data


def check_file_name(name: bytes) -> None:
    """Refuse a file name that leaves the working directory or enters ``.hg``.

    hg itself refuses such a name when it updates to it, not when it is pushed.
    """
    try:
        pathutil.pathauditor(b'/', realfs=False)(name)
    except error.Abort as exc:
        raise Refused(f"file name '{hgcompat.escaped(name)}' is not allowed") from exc
    parts = name.split(b'/')
    if b'' in parts or b'.' in parts or b'\0' in name or b'\n' in name or b'\r' in name:
        raise Refused(f"file name '{hgcompat.escaped(name)}' is not allowed")


def normalized(stream: Any, version: bytes, changesets: list[hgcompat.Delta]) -> Iterator[bytes]:
    """The chunks of an incoming changegroup, checked, as version 02.

    Appends the entries of the changelog, without their deltas, to
    ``changesets`` on the way. Raises `Refused`.
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


def unpack(file: BinaryIO, version: bytes) -> Any:
    """An unpacker over an uncompressed changegroup that stands in a file."""
    return changegroup.getunbundler(version, file, b'UN')


def file_groups(unpacker: Any) -> Iterator[bytes]:
    """The names of a changegroup's files. The caller reads each one's group."""
    for header in iter(unpacker.filelogheader, {}):
        yield header[b'filename']


def spliced(layers: Iterable[Any]) -> Iterator[bytes]:
    """The chunks of one changegroup 02 that holds all entries of some unpackers.

    They stand in the order of the layers, so that a layer may build on those
    before it; what occurs twice is kept once. The unpackers' files must be
    seekable.
    """
    unpackers = list(layers)
    for unpacker in unpackers:
        unpacker.changelogheader()
    yield from _merged_group(unpackers)
    for unpacker in unpackers:
        unpacker.manifestheader()
    yield from _merged_group(unpackers)
    places: dict[bytes, list[tuple[Any, int]]] = {}
    for unpacker in unpackers:
        for name in file_groups(unpacker):
            places.setdefault(name, []).append((unpacker, unpacker.tell()))
            hgcompat.skip_group(unpacker)
    for name in sorted(places):
        yield from _file_header(name)
        yield from _merged_group(_standing_at(places[name]))
    yield changegroup.closechunk()


def _standing_at(places: Iterable[tuple[Any, int]]) -> Iterator[Any]:
    for unpacker, offset in places:
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
