"""Obsolescence markers: as Mercurial holds them in memory, and as they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mercurial import error, obsolete
from mercurial.node import nullid

from .. import hgcompat
from ..errors import Refused
from ..model import Marker

#: Predecessor, successors, flags, metadata, date, parents (`obsolete.obsstore.fields`).
Raw = tuple[bytes, tuple[bytes, ...], int, Any, Any, Any]

#: The format of a stored marker; newer ones are another number.
_VERSION = 1


def read(data: bytes) -> list[Raw]:
    """The markers of a client's stream. Raises `Refused`, and what `hgcompat.GARBLED` lists."""
    try:
        found = hgcompat.read_markers(data)
        for marker in found:
            if nullid in marker[1] or marker[2] & obsolete.usingsha256:
                raise Refused('an obsolescence marker is not valid')
            _encoded(marker)
    except (error.ProgrammingError, error.UnknownVersion) as exc:
        raise Refused('the obsolescence markers are of a format that is not supported') from exc
    return found


def pack(marker: Raw) -> Marker:
    """A marker as it is stored."""
    return Marker(predecessor=marker[0], nodes=nodes(marker), data=_encoded(marker))


def unpack(data: bytes) -> Raw:
    """A stored marker."""
    header = obsolete.encodeheader(_VERSION)
    (marker,) = hgcompat.read_markers(header + data)
    return marker


def _encoded(marker: Raw) -> bytes:
    return b''.join(obsolete.encodemarkers([marker], version=_VERSION))


def nodes(marker: Raw) -> tuple[bytes, ...]:
    """The changesets with which a marker is exchanged: its successors, or where it
    has none its predecessor and that one's parents."""
    predecessor, successors, *_others, parents = marker
    found = successors or (predecessor, *(parents or ()))
    return tuple(node for node in dict.fromkeys(found) if node != nullid)


def relevant(markers: Iterable[Raw], starts: Callable[[bytes], bool]) -> list[Raw]:
    """Those of some markers that are exchanged with a changeset that ``starts`` tells,
    or with a predecessor of theirs, and so on."""
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
