"""Plain value types. Imports nothing, and most are tuples: a dataclass takes longer to make, and
each hg process imports this.

Text that Mercurial stores as bytes (authors, descriptions, file names) is bytes here too,
because it need not be UTF-8. Nodes are 20 bytes, binary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Changeset(NamedTuple):
    """What the pushlog shows of a changeset.

    ``date`` is in seconds since the epoch, ``timezone`` in seconds west of UTC, as in Mercurial.
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
        """Whether nothing is left but the nodes of the changeset and its parents.

        A changeset has extras, its branch at least; all else may be empty in a push.
        """
        return not self.extras


class Bundle(NamedTuple):
    """A stored bundle: an HG10 file with ``head`` and all its draft ancestors.

    ``key`` names the object, ``size`` is its bytes, ``sha512`` hexadecimal. ``bases`` are the
    public parents of its changesets, ``nodes`` these, parents first.
    """

    key: str
    size: int
    sha512: str
    head: bytes
    bases: tuple[bytes, ...]
    nodes: tuple[bytes, ...] = ()


class BookmarkMove(NamedTuple):
    """A change of a bookmark in the database: the draft it names before and after (or None)."""

    name: bytes
    old: bytes | None
    new: bytes | None


class Marker(NamedTuple):
    """An obsolescence marker: see `catalog.schema.markers` and ``marker_nodes``."""

    predecessor: bytes
    nodes: tuple[bytes, ...]
    data: bytes


class LogState(NamedTuple):
    """How far the log of public history has got, and the heads of all that is in it."""

    position: int
    heads: frozenset[bytes]


class LogEntry(NamedTuple):
    """An entry of the log of public history.

    ``bundle`` has its changesets, which build on entries before it. ``added`` and ``removed``
    are what it did to the heads. ``logged`` is in seconds since the epoch, by the database's
    clock.
    """

    position: int
    bundle: Bundle
    added: tuple[bytes, ...]
    removed: tuple[bytes, ...]
    logged: int


class BookmarkPlace(NamedTuple):
    """A bookmark of public history: where its last move left it (None: nowhere).

    ``move`` is the move's random name, ``moved`` its time by the database's clock, in
    milliseconds since the epoch.
    """

    name: bytes
    node: bytes | None
    move: bytes
    moved: int


class Unlogged(NamedTuple):
    """What a server has of public history, and the log lacks.

    ``bundle`` has the changesets (None: nothing is missing), ``heads`` are the heads of the
    server with them, ``replaced`` those of the log that are none any more. ``position`` is the
    last one whose changesets the server has. ``bookmarks`` are moves, with None for a deletion.
    """

    heads: tuple[bytes, ...] = ()
    replaced: tuple[bytes, ...] = ()
    position: int = 0
    bundle: Bundle | None = None
    bookmarks: tuple[tuple[bytes, bytes | None], ...] = ()

    @property
    def keys(self) -> list[str]:
        """The keys of its objects."""
        return [self.bundle.key] if self.bundle else []


class Push(NamedTuple):
    """A push to be recorded.

    ``changesets`` are all that it brought, parents first. ``roots`` are its draft roots. ``held``
    are its draft heads that have no bundle in ``bundles``, because one was stored already.
    ``published`` is for the log of public history. ``size`` is in bytes, decompressed;
    ``seconds`` are those since its first byte, None if not known. ``changes`` tells whether it
    changes bookmarks or public history, ``limited`` whether pushes of users are counted, also those
    without a changeset.
    """

    user: str
    changesets: tuple[Changeset, ...]
    bundles: tuple[Bundle, ...] = ()
    bookmarks: tuple[BookmarkMove, ...] = ()
    markers: tuple[Marker, ...] = ()
    roots: tuple[bytes, ...] = ()
    held: tuple[bytes, ...] = ()
    published: Unlogged | None = None
    size: int = 0
    seconds: float | None = None
    changes: bool = False
    limited: bool = False


@dataclass(frozen=True)
class Recorded:
    """The result of recording a `Push`.

    ``push_id`` is None if other pushes had brought all its changesets, so that there was
    nothing to list. ``nodes`` are the listed changesets, in order. ``markers`` is the number of
    new obsolescence markers. ``date`` is that of the push, by the database's clock.
    """

    push_id: int | None = None
    nodes: tuple[bytes, ...] = ()
    markers: int = 0
    date: int = field(default=0, compare=False)


class Selection(NamedTuple):
    """A selection of pushes. All conditions must hold; None does not restrict it.

    ``after`` is a push id, exclusive, ``upto`` one, inclusive. ``since`` and ``before`` are
    dates in seconds since the epoch, both exclusive. A push matches ``users`` or ``push_ids``
    if it matches one of them. One of its changesets must have all ``words``, in its description
    or author, and all words of ``author`` in its author.
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


class Entry(NamedTuple):
    """A push in the pushlog, without its changesets. ``date`` is in seconds since the epoch."""

    push_id: int
    user: bytes
    date: int


@dataclass(frozen=True)
class PushNodes:
    """A push with the nodes of all its changesets, in order: what a pushlog2.db has.

    ``tombstoned`` are those of them that are tombstones in the database.
    """

    push_id: int
    user: bytes
    date: int
    nodes: tuple[bytes, ...]
    tombstoned: frozenset[bytes] = field(default=frozenset(), compare=False)


class Conflict(NamedTuple):
    """A push whose id is that of another push (``recorded``), or that brings a changeset (``node``)
    which another push, ``owner``, has brought."""

    push: PushNodes
    recorded: PushNodes | None = None
    node: bytes = b''
    owner: int = 0


class PushOf(NamedTuple):
    """The push that brought a changeset; its first one and its last one, empty if not asked for."""

    entry: Entry
    base: bytes
    head: bytes


class Tombstone(NamedTuple):
    """A changeset that is gone, and the push that had brought it.

    ``pushed`` and ``gone`` are seconds since the epoch; ``gone`` is None if it is not known when it
    went. ``action`` is that of `catalog.bans`; None if it expired.
    """

    node: bytes
    push_id: int
    pushed: int
    gone: int | None
    action: str | None


class ServingNeeds(NamedTuple):
    """A changeset of a push, with what a server must have to serve it.

    These are its parents or, if it is in no bundle (public), the changeset itself.
    """

    push_id: int
    node: bytes
    parents: tuple[bytes, ...]
    bundled: bool


class Parents(NamedTuple):
    """A changeset and its parents, as nodes."""

    node: bytes
    p1: bytes
    p2: bytes


class Drafts(NamedTuple):
    """The drafts that a set of names stands for.

    ``nodes`` maps each name to the nodes of drafts: none, one, or two if it is ambiguous.
    ``bundles`` maps each node to the newest bundle that holds it, ``brought`` to the push that
    brought it. ``expired`` are the names of drafts that expired or were obliterated. ``bookmarks``
    are those of all drafts of the bundles, by node.
    """

    nodes: dict[bytes, tuple[bytes, ...]]
    bundles: dict[bytes, Bundle]
    brought: dict[bytes, PushOf]
    expired: frozenset[bytes]
    bookmarks: dict[bytes, list[bytes]]
