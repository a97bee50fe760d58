"""Apply what the log of public history has and a repository lacks.

Each batch is one transaction, so that a process that dies leaves the repository at a place in
the log. Meanwhile, other processes may add the same changesets.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

from mercurial import bundle2, error, phases

from .. import hgcompat
from ..backend import Backend
from ..bundles import overlay as overlays
from ..bundles.overlay import FOLDER_PREFIX
from ..catalog import public_log
from ..errors import Corrupt, Temporary
from ..model import BookmarkPlace, LogEntry
from . import append, place as places

#: The file in the store that has the position of the last bookmark that was applied.
_FOLLOWED = b'headless-followed'
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
        entries = _bounded(public_log.after(session, place.position, _ENTRIES))
        moves = public_log.moved_bookmarks(session, _followed(repo))
    if not (entries or moves):
        return None
    folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
    try:
        paths = []
        for entry in entries:
            path = os.path.join(folder, f'{entry.position}.hg')
            overlays.fetch_as_stored(backend.store, entry.bundle, path)
            paths.append(path)
        followed = _apply(repo, backend, list(zip(entries, paths)))
        return followed if any(followed) else None
    except error.LockHeld as exc:
        raise Temporary('the repository is locked by another process') from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bounded(entries: list[LogEntry]) -> list[LogEntry]:
    """Return as many of the first ``entries`` as fit into one transaction, at least one."""
    size = 0
    for number, entry in enumerate(entries):
        size += entry.bundle.size
        if number and size > _SIZE:
            return entries[:number]
    return entries


def _apply(repo: Any, backend: Backend, entries: Sequence[tuple[LogEntry, str]]) -> Followed:
    repo = repo.unfiltered()
    quiet = {**append.silenced(), (b'ui', b'quiet'): True}
    with repo.ui.configoverride(quiet, b'headless'), repo.wlock(), repo.lock():
        if repo.svfs.exists(b'journal'):
            repo.recover()  # a process was killed in a transaction
        # A push holds the lock from a bookmark's move until that is recorded.
        with backend.catalog.reading() as session:
            moves = public_log.moved_bookmarks(session, _followed(repo))
            state = public_log.state(session)
        with repo.transaction(b'headless-follow') as transaction:
            transaction.hookargs.update({b'source': b'pull', b'url': b'headless:'})
            before = len(repo)
            for entry, path in entries:
                if not all(places.is_public(repo, node) for node in entry.added):
                    _add(repo, transaction, entry, path)
            heads = state.heads if state is not None else ()
            is_last = all(places.is_public(repo, node) for node in heads)
            moved = _move(repo, transaction, moves, is_last)
            return Followed(len(entries), len(repo) - before, moved)


def _add(repo: Any, transaction: Any, entry: LogEntry, path: str) -> None:
    with open(path, 'rb') as file:
        bundle = overlays.unbundler(repo.ui, file, entry.bundle.key)
        if not isinstance(bundle, bundle2.unbundle20):
            raise Corrupt(f'object {entry.bundle.key} is no bundle of public history')
        bundle2.applybundle(repo, bundle, transaction, source=b'pull', url=b'headless:')
    if not all(repo.changelog.hasnode(node) for node in entry.added):
        raise Corrupt(f'object {entry.bundle.key} lacks changesets that it should have')
    # A changegroup that is applied to a non-publishing repository is draft.
    phases.advanceboundary(repo, transaction, phases.public, list(entry.added))


def _move(
    repo: Any, transaction: Any, moves: Sequence[BookmarkPlace], is_last: bool
) -> int:
    """Move bookmarks, but stop at the first whose changeset is in a later entry."""
    own = hgcompat.bookmarks(repo)
    changes: list[append.Move] = []
    followed = _followed(repo)
    for move in moves:
        is_here = move.node is None or repo.changelog.hasnode(move.node)
        if not (is_here or is_last):
            break
        followed = move.position
        if is_here and own.get(move.name) != move.node:
            changes.append((move.name, move.node))
    own.applychanges(repo, transaction, changes)
    transaction.addfilegenerator(
        b'headless-followed', (_FOLLOWED,), lambda file: file.write(b'%d\n' % followed)
    )
    return len(changes)


def _followed(repo: Any) -> int:
    found = repo.svfs.tryread(_FOLLOWED).strip()
    return int(found) if found.isdigit() else 0


def unlogged_bookmarks(repo: Any, backend: Backend) -> list[append.Move]:
    """Return moves that the log lacks, of bookmarks that it has moved since it began.

    The repository must be locked, and have applied all of the log.
    """
    own = hgcompat.bookmarks(repo)
    with backend.catalog.reading() as session:
        moves = public_log.moved_bookmarks(session, 0)
    followed = _followed(repo)
    return [
        (move.name, own.get(move.name))
        for move in moves
        if move.position <= followed and own.get(move.name) != move.node
    ]
