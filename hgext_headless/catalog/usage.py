"""What a user has pushed lately, and has stored: for limits."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import delete, func, insert, select

from .drafts import is_stored
from .schema import changesets, other_pushes, push_changesets, pushes
from .session import Session
from .statements import clock

#: Number of pushes to count at least: hardly anybody makes more within the time of a limit.
_COUNTED = 10_000
#: The longest time that a limit is about, in seconds.
LONGEST = 3600


class Pushed(NamedTuple):
    """A push: ``date`` is in seconds since the epoch, ``size`` in bytes."""

    date: int
    size: int


def pushed_since(session: Session, user: bytes, since: int, limit: int) -> list[Pushed]:
    """Return the pushes of ``user`` since then (seconds since the epoch), the newest first.

    At least ``limit`` pushes are returned if there are so many. `record` has noted those that
    brought no changeset.
    """
    most = max(_COUNTED, limit)
    others = (
        select(other_pushes.c.date, other_pushes.c.size)
        .where(
            other_pushes.c.repository_id == session.repository_id,
            other_pushes.c.user == user,
            other_pushes.c.date > since,
        )
        .order_by(other_pushes.c.date.desc())
        .limit(most)
    )
    query = (
        select(pushes.c.date, pushes.c.size)
        .where(
            pushes.c.repository_id == session.repository_id,
            pushes.c.user == user,
            pushes.c.date > since,
        )
        .order_by(pushes.c.push_id.desc())
        .limit(most)
    )
    found = [*session.execute(query), *session.execute(others)]
    return sorted((Pushed(row.date, row.size or 0) for row in found), reverse=True)


def record(session: Session, repository_id: int, user: bytes, size: int) -> None:
    """Note a push of ``user`` that stored something and brought no changeset."""
    now = clock(session.connection)
    session.execute(
        delete(other_pushes).where(
            other_pushes.c.repository_id == repository_id,
            other_pushes.c.user == user,
            other_pushes.c.date < now - LONGEST,
        )
    )
    session.execute(
        insert(other_pushes).values(repository_id=repository_id, user=user, date=now, size=size)
    )


def live_drafts(session: Session, user: bytes, most: int) -> int:
    """Return the number of stored drafts that pushes of ``user`` brought, up to ``most``."""
    some = (
        select(push_changesets.c.changeset_id)
        .join(
            pushes,
            (pushes.c.repository_id == push_changesets.c.repository_id)
            & (pushes.c.push_id == push_changesets.c.push_id),
        )
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(pushes.c.repository_id == session.repository_id, pushes.c.user == user, is_stored())
        .limit(most)
        .subquery()
    )
    return session.scalar(select(func.count()).select_from(some)) or 0
