"""What is public: the log of public history says so, where there is one; else the repository.

So a repository's place in the log is needed by whoever asks it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from mercurial import phases

from .backend import Backend
from .catalog import public_log, statements
from .config import Settings
from .errors import Refused, Temporary, counted
from .model import LogState

#: Number of entries in one query.
_BATCH = 200


def find(repo: Any, session: statements.Session) -> LogState | None:
    """Return the place of a repository in the log; None if that has not begun.

    It is the last position whose changesets the repository has, with the log's heads there.
    Raise `Temporary` if the repository lacks changesets from before the log began. The cost
    grows with the number of entries that it lacks.
    """
    state = public_log.state(session)
    if state is None:
        return None
    position, heads = state.position, set(state.heads)
    lacking = {node for node in heads if not is_public(repo, node)}
    while lacking:
        entries = public_log.before(session, position, _BATCH)
        if not entries:
            raise Temporary(
                f'this repository lacks {min(lacking).hex()[:12]}, which was public before the '
                'log of public history began: it has to be pulled from another server'
            )
        for entry in entries:
            heads.difference_update(entry.added)
            heads.update(entry.removed)
            lacking.difference_update(entry.added)
            lacking.update(node for node in entry.removed if not is_public(repo, node))
            position = entry.position - 1
            if not lacking:
                break
    return LogState(position, frozenset(heads))


class Lag(NamedTuple):
    """How many ``entries`` of the log a repository lacks, and the age of the oldest of them."""

    entries: int
    seconds: int


def lag(repo: Any, session: statements.Session) -> Lag:
    """Return how far a repository is behind the log. Raise as `find`."""
    place, state = find(repo, session), public_log.state(session)
    if place is None or state is None or place.position >= state.position:
        return Lag(0, 0)
    return Lag(state.position - place.position, max(1, public_log.age(session, place.position + 1)))


@contextlib.contextmanager
def at_the_head(repo: Any, backend: Backend) -> Iterator[Public]:
    """Yield what is public, which nobody changes until the end.

    Locks the log or, if there is none, the repository. Raise `Temporary` if the repository lacks
    public history, and `Refused` if it has drafts itself.
    """
    with contextlib.ExitStack() as stack:
        if not has_log(backend.settings):
            stack.enter_context(repo.lock())
        session = stack.enter_context(backend.catalog.writing())
        state = public_log.lock(session)
        repo.invalidateall()
        place = find(repo, session)
        if state is not None and place is not None and place.position < state.position:
            raise Temporary(
                f'this repository is {counted(state.position - place.position, "entry")} behind '
                'the log of public history, and what it lacks may be what is to go: run "hg '
                'admin::headless-follow"'
            )
        yield Public(session, unchanging(repo))


def unchanging(repo: Any) -> Callable[[bytes], bool]:
    """Return a function that tells whether a changeset is public in the repository now.

    The repository is read again: a push may have published it meanwhile. Raise `Refused` if the
    repository itself has drafts.
    """
    repo.invalidateall()
    if repo.unfiltered().revs(b'first(not public())'):
        raise Refused(
            'this repository has drafts in itself: do this in the headless one that they '
            'were moved to'
        )
    return repo.unfiltered().changelog.hasnode


class Public(NamedTuple):
    """A ``session`` in which public history does not change, and a function that tells whether a
    changeset ``is_public``."""

    session: statements.Session
    is_public: Callable[[bytes], bool]


def has_log(settings: Settings) -> bool:
    """Return whether there is a log: no other server could follow an embedded database."""
    return not settings.embedded_database


def is_public(repo: Any, node: bytes) -> bool:
    """Return whether a repository has a changeset, and it is public there."""
    repo = repo.unfiltered()
    return repo.changelog.hasnode(node) and repo[node].phase() == phases.public


def public_heads(repo: Any) -> list[bytes]:
    """Return the heads of a repository's public history."""
    repo = repo.unfiltered()
    changelog = repo.changelog
    if repo.revs(b'first(not public())'):  # before they are imported
        return [changelog.node(rev) for rev in repo.revs(b'heads(public())')]
    return [node for node in changelog.heads() if node != changelog.nullid]
