"""Where a repository stands in the log of public history."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from mercurial import phases

from ..catalog import public_log, session as sessions
from ..errors import Temporary

#: Number of entries in one query.
_BATCH = 200


class Place(NamedTuple):
    """The last ``position`` whose changesets a repository has, and the log's ``heads`` there."""

    position: int
    heads: frozenset[bytes]


def find(repo: Any, session: sessions.Session) -> Place | None:
    """Return the place of a repository; None if the log has not begun.

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
    return Place(position, frozenset(heads))


class Lag(NamedTuple):
    """The number of ``entries`` of the log that a repository lacks.

    ``seconds`` is the age of the oldest of them; 0 if it lacks none.
    """

    entries: int
    seconds: int


def lag(repo: Any, session: sessions.Session) -> Lag:
    """Return how far a repository is behind the log. Raise as `find`."""
    place, state = find(repo, session), public_log.state(session)
    if place is None or state is None or place.position >= state.position:
        return Lag(0, 0)
    [oldest] = public_log.after(session, place.position, 1)
    return Lag(state.position - place.position, max(1, int(time.time()) - oldest.logged))


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
