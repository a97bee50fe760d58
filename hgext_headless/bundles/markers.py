"""Obsolescence markers: as Mercurial has them in memory, and as they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mercurial import error, obsolete
from mercurial.node import nullid

from .. import hgcompat
from ..errors import Refused
from ..model import Marker

#: Predecessor, successors, flags, metadata, date, parents (`obsolete.obsstore.fields`).
Raw = tuple[bytes, tuple[bytes, ...], int, Any, Any, Any]

#: The format version of stored markers.
_VERSION = 1


def read(data: bytes) -> Iterator[Raw]:
    """Yield the markers in ``data``, which a client sent.

    Raise `Refused`, and what `hgcompat.GARBLED` lists.
    """
    try:
        for marker in hgcompat.read_markers(data):
            if nullid in marker[1] or marker[2] & obsolete.usingsha256:
                raise Refused('an obsolescence marker is not valid')
            _encoded(marker)
            yield marker
    except (error.ProgrammingError, error.UnknownVersion) as exc:
        raise Refused('the obsolescence markers are of a format that is not supported') from exc


def pack(marker: Raw) -> Marker:
    """Convert a marker to the form in which it is stored."""
    return Marker(predecessor=marker[0], nodes=nodes(marker), data=_encoded(marker))


def unpack(data: bytes) -> Raw:
    """Return the marker that is stored as ``data``."""
    header = obsolete.encodeheader(_VERSION)
    (marker,) = hgcompat.read_markers(header + data)
    return marker


def _encoded(marker: Raw) -> bytes:
    return b''.join(obsolete.encodemarkers([marker], version=_VERSION))


def nodes(marker: Raw) -> tuple[bytes, ...]:
    """Return the changesets with which a marker is exchanged.

    These are its successors or, if it has none, its predecessor and the predecessor's parents.
    """
    predecessor, successors, *_others, parents = marker
    found = successors or (predecessor, *(parents or ()))
    return tuple(node for node in dict.fromkeys(found) if node != nullid)


def relevant(markers: Iterable[Raw], starts: Callable[[bytes], bool]) -> list[Raw]:
    """Return those of ``markers`` that are relevant to the changesets for which ``starts`` is true.

    These are the markers exchanged with such a changeset, with a predecessor in these markers,
    and so on.
    """
    by_node: dict[bytes, list[Raw]] = {}
    for marker in markers:
        for node in nodes(marker):
            by_node.setdefault(node, []).append(marker)
    found: dict[Raw, None] = {}
    pending = [node for node in by_node if starts(node)]
    while pending:
        for marker in by_node.pop(pending.pop(), ()):
            found[marker] = None
            pending.append(marker[0])
    return list(found)
