"""Apply what the log of public history has and a repository lacks.

Each batch is one transaction, so that a process that dies leaves the repository at a place in
the log. Meanwhile, other processes may add the same changesets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mercurial import bundle2, error, phases
from mercurial.node import bin, hex

from .. import hgcompat, place as places
from ..backend import Backend
from ..bundles import overlay as overlays
from ..catalog import public_log, statements
from ..catalog.statements import portions
from ..errors import Corrupt, Temporary
from ..model import BookmarkPlace, LogEntry
from . import append, unrecorded

#: The file in the store that has, for each bookmark, the last move that was applied.
_FOLLOWED = b'headless-followed'
_MOVE = re.compile(rb'([0-9a-f]{32}) ([0-9]+) (.+)')
#: Entries of one transaction, and their size in bytes.
_ENTRIES = 50
_SIZE = 64 * 1024 * 1024


class Followed(NamedTuple):
    """What was applied: numbers of entries, changesets and bookmarks."""

    entries: int
    changesets: int
    bookmarks: int


def step(repo: Any, backend: Backend) -> Followed | None:
    """Apply the next entries, in one transaction; None if there are none.

    Raise `Corrupt` if an object is not what was stored, `Temporary` if the repository stays
    locked, and what `place.find`, the catalog and the store raise.
    """
    repo.invalidateall()
    with backend.catalog.reading() as session:
        place = places.find(repo, session)
        if place is None:
            return None
        found = public_log.after(session, place.position, _ENTRIES)
        entries = next(portions(found, _ENTRIES, lambda entry: entry.bundle.size, _SIZE), [])
        moves = _news(repo, session)
    if not (entries or moves):
        return None
    with overlays.scratch() as folder:
        paths = [os.path.join(folder, f'{entry.position}.hg') for entry in entries]
        for entry, path in zip(entries, paths):
            overlays.fetch_as_stored(backend.store, entry.bundle, path)
        try:
            followed = _apply(repo, backend, list(zip(entries, paths)))
        except error.LockHeld as exc:
            raise Temporary('the repository is locked by another process') from exc
    return followed if any(followed) else None


def _apply(repo: Any, backend: Backend, entries: Sequence[tuple[LogEntry, str]]) -> Followed:
    repo = repo.unfiltered()
    quiet = {**append.silenced(), (b'ui', b'quiet'): True}
    with repo.ui.configoverride(quiet, b'headless'), repo.wlock(), repo.lock():
        if repo.svfs.exists(b'journal'):
            repo.recover()  # a process was killed in a transaction
        # A push holds the lock from a bookmark's move until that is recorded.
        with backend.catalog.reading() as session:
            moves = _news(repo, session)
            state = public_log.state(session)
        with hgcompat.transaction(repo, b'headless-follow') as transaction:
            transaction.hookargs.update({b'source': b'pull', b'url': b'headless:'})
            before = len(repo)
            for entry, path in entries:
                if not all(places.is_public(repo, node) for node in entry.added):
                    _add(repo, transaction, entry, path)
            heads = state.heads if state is not None else ()
            is_last = all(places.is_public(repo, node) for node in heads)
            moved = _move(repo, transaction, moves, is_last)
        new = [repo.changelog.node(rev) for rev in range(before, len(repo))]
        unrecorded.note_followed(repo, backend, new)
        return Followed(len(entries), len(new), moved)


def _add(repo: Any, transaction: Any, entry: LogEntry, path: str) -> None:
    with open(path, 'rb') as file:
        bundle = overlays.unbundler(repo.ui, file, entry.bundle.key)
        if not isinstance(bundle, bundle2.unbundle20):
            raise Corrupt(f'object {entry.bundle.key} is not a bundle of public history')
        bundle2.applybundle(repo, bundle, transaction, source=b'pull', url=b'headless:')
    if not all(repo.changelog.hasnode(node) for node in entry.added):
        raise Corrupt(f'object {entry.bundle.key} lacks changesets that it should have')
    # A changegroup that is applied to a non-publishing repository is draft.
    phases.advanceboundary(repo, transaction, phases.public, list(entry.added))


def _move(repo: Any, transaction: Any, moves: Sequence[BookmarkPlace], is_last: bool) -> int:
    """Move bookmarks, but not those whose changesets are in a later entry."""
    own = hgcompat.bookmarks(repo)
    changes: list[append.Move] = []
    applied = _applied(repo)
    for move in moves:
        is_here = move.node is None or repo.changelog.hasnode(move.node)
        if is_here or is_last:
            applied[move.name] = Applied(move.move, move.moved)
        if is_here and own.get(move.name) != move.node:
            changes.append((move.name, move.node))
    own.applychanges(repo, transaction, changes)

    def write(file: Any) -> None:
        for name, move in sorted(applied.items()):
            file.write(b'%s %d %s\n' % (hex(move.name), move.moved, name))

    transaction.addfilegenerator(b'headless-followed', (_FOLLOWED,), write)
    return len(changes)


class Applied(NamedTuple):
    """The random ``name`` of a bookmark's move, and its time: see `BookmarkPlace`."""

    name: bytes
    moved: int


def _applied(repo: Any) -> dict[bytes, Applied]:
    """Return the last move of each bookmark that was applied here, by the bookmark's name."""
    found = map(_MOVE.fullmatch, repo.svfs.tryread(_FOLLOWED).splitlines())
    return {m.group(3): Applied(bin(m.group(1)), int(m.group(2))) for m in found if m}


def _news(repo: Any, session: statements.Session) -> list[BookmarkPlace]:
    """Return the last moves of bookmarks that were not applied here, be they older or newer."""
    applied = _applied(repo)
    return [
        move
        for move in public_log.bookmarks(session)
        if move.name not in applied or applied[move.name].name != move.move
    ]


def unlogged_bookmarks(repo: Any, session: statements.Session) -> list[append.Move]:
    """Return moves that the log lacks, of bookmarks that it has moved since it began.

    The repository and the log must be locked. A bookmark whose last move was not applied here is
    left out: then the log's is the newer one, or this repository is of another epoch.
    """
    own, applied = hgcompat.bookmarks(repo), _applied(repo)
    return [
        (move.name, own.get(move.name))
        for move in public_log.bookmarks(session)
        if move.name in applied
        and applied[move.name].name == move.move
        and own.get(move.name) != move.node
    ]


def lost_bookmarks(repo: Any, session: statements.Session) -> list[append.Move]:
    """Return moves that were applied here, and that the log has lost: the database is older."""
    own = hgcompat.bookmarks(repo)
    logged = {move.name: move for move in public_log.bookmarks(session)}

    def is_lost(name: bytes, applied: Applied) -> bool:
        move = logged.get(name)
        if move is None:
            return name in own
        return move.move != applied.name and move.moved < applied.moved

    return [(name, own.get(name)) for name, move in _applied(repo).items() if is_lost(name, move)]


def log_bookmarks(
    repo: Any,
    backend: Backend,
    which: Callable[[Any, statements.Session], list[append.Move]] = unlogged_bookmarks,
) -> int:
    """Log the moves that ``which`` says; return their number."""
    with backend.catalog.reading() as session:
        if not which(repo, session):
            return 0
    # A push holds both locks from a bookmark's move until that is recorded.
    with repo.wlock(), repo.lock(), backend.catalog.writing() as session:
        public_log.lock(session)
        moves = which(repo, session)
        public_log.move(session, moves)
    return len(moves)


def catch_up(repo: Any, backend: Backend) -> bool:
    """Apply all that the log has and this repository lacks; return whether there was anything.

    Raise as `step`.
    """
    found = False
    while step(repo, backend) is not None:
        found = True
    return found
