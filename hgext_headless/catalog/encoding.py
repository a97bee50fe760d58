"""Encode lists in one binary column."""

from __future__ import annotations

from collections.abc import Iterable

from mercurial import changelog


def join_files(files: Iterable[bytes]) -> bytes:
    return b'\0'.join(files)


def split_files(column: bytes) -> tuple[bytes, ...]:
    return tuple(bytes(column).split(b'\0')) if column else ()


def join_extras(extras: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encode a changeset's extras as Mercurial's changelog does."""
    return changelog.encodeextra(dict(extras))


def split_extras(column: bytes) -> dict[bytes, bytes]:
    return dict(changelog.decodeextra(bytes(column)))


def split_nodes(column: bytes) -> tuple[bytes, ...]:
    """Split concatenated nodes of 20 bytes each."""
    data = bytes(column)
    return tuple(data[i : i + 20] for i in range(0, len(data), 20))
