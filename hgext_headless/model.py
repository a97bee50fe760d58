"""Plain value types. Imports nothing.

Text that Mercurial keeps as bytes (authors, descriptions, file names) stays
bytes here: nobody can promise that it is UTF-8. Nodes are 20-byte binary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Changeset:
    """What the pushlog shows of a changeset; bytes as they came.

    ``date`` is seconds since the epoch and ``timezone`` seconds west of UTC,
    as in Mercurial. ``files`` are sorted as in the changeset.
    """

    node: bytes
    p1: bytes
    p2: bytes
    branch: bytes
    author: bytes
    date: int
    timezone: int
    description: bytes
    files: tuple[bytes, ...]
    extras: tuple[tuple[bytes, bytes], ...]

    @property
    def is_tombstone(self) -> bool:
        """Whether nothing but its and its parents' names is left."""
        return not (self.author or self.description or self.files)


@dataclass(frozen=True)
class Bundle:
    """A stored bundle: an HG10 file that holds ``head`` and each draft ancestor.

    ``key`` is the object's name in the store, ``size`` is in bytes, ``sha512``
    is the hexadecimal digest of the object. ``bases`` are the public parents
    of its changesets, ``nodes`` its changesets, parents first.
    """

    key: str
    size: int
    sha512: str
    head: bytes
    bases: tuple[bytes, ...]
    nodes: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class BookmarkMove:
    """A bookmark of the database: the draft that it names, and the one that it shall
    name. None is no bookmark."""

    name: bytes
    old: bytes | None
    new: bytes | None


@dataclass(frozen=True)
class Marker:
    """An obsolescence marker: see `catalog.schema.markers` and ``marker_nodes``."""

    predecessor: bytes
    nodes: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Push:
    """A push that is about to be recorded.

    ``changesets`` are all that it brought, parents first. ``date`` is seconds
    since the epoch. ``roots`` are the nodes under all of its drafts, ``held`` those draft
    heads for which there is no bundle, because they were stored already.
    """

    user: str
    date: int
    changesets: tuple[Changeset, ...]
    bundles: tuple[Bundle, ...]
    bookmarks: tuple[BookmarkMove, ...] = ()
    markers: tuple[Marker, ...] = ()
    roots: tuple[bytes, ...] = ()
    held: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Recorded:
    """What became of a `Push`.

    ``push_id`` is None where there was nothing new to list: another push had
    brought each of its changesets. ``nodes`` are those listed, in their order;
    ``markers`` counts the obsolescence markers that were not stored before.
    """

    push_id: int | None = None
    nodes: tuple[bytes, ...] = ()
    markers: int = 0


@dataclass(frozen=True)
class Selection:
    """Which pushes of the pushlog; conditions are ANDed, None is no condition.

    ``after`` is a push id, exclusive, ``upto`` one, inclusive. ``since`` and
    ``before`` are dates in seconds since the epoch, both exclusive. ``users`` and
    ``push_ids`` are alternatives. One changeset has all ``words``, in its description or
    author, and all words of ``author`` in its author.
    """

    after: int | None = None
    upto: int | None = None
    since: float | None = None
    before: float | None = None
    users: tuple[bytes, ...] | None = None
    push_ids: tuple[int, ...] | None = None
    branch: bytes | None = None
    words: tuple[str, ...] = ()
    author: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A push of the pushlog, without its changesets. ``date`` is seconds since the epoch."""

    push_id: int
    user: bytes
    date: int


@dataclass(frozen=True)
class PastPush:
    """A push with the names of all that it brought, in order: what a pushlog2.db keeps.

    ``tombstoned`` are those of ``nodes`` that are tombstones here; it is no part of what
    makes two of them equal. ``date`` is seconds since the epoch.
    """

    push_id: int
    user: bytes
    date: int
    nodes: tuple[bytes, ...]
    tombstoned: frozenset[bytes] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class Conflict:
    """A push that is recorded as another one (``recorded``), or one whose changeset
    ``node`` another push (``owner``, an id) has brought."""

    push: PastPush
    recorded: PastPush | None = None
    node: bytes = b''
    owner: int = 0


@dataclass(frozen=True)
class Brought:
    """The push that brought a changeset; ``base`` is the first changeset that it
    brought and ``head`` the last, or both are empty where nobody has asked for them."""

    entry: Entry
    base: bytes
    head: bytes


@dataclass(frozen=True)
class Needs:
    """A changeset of a push, with what a server must have to serve it: its
    parents, or where it is not in any bundle (public) the changeset itself."""

    push_id: int
    node: bytes
    parents: tuple[bytes, ...]
    bundled: bool


class Parents(NamedTuple):
    """A changeset and its parents, as nodes."""

    node: bytes
    p1: bytes
    p2: bytes


@dataclass(frozen=True)
class Drafts:
    """What some names stand for: for each name the nodes of drafts (two where it
    is ambiguous), and for each node the newest bundle that holds it. ``expired`` are
    the names of drafts that expired or were obliterated."""

    nodes: dict[bytes, tuple[bytes, ...]]
    bundles: dict[bytes, Bundle]
    brought: dict[bytes, Brought]
    expired: frozenset[bytes] = frozenset()
