"""What a user has pushed lately, and has stored: for limits."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select

from .drafts import is_stored
from .schema import changesets, push_changesets, pushes
from .session import Session

#: Number of pushes to count at least: hardly anybody makes more within the time of a limit.
_COUNTED = 10_000


class Pushed(NamedTuple):
    """A push: ``date`` is in seconds since the epoch, ``size`` in bytes."""

    date: int
    size: int


def pushed_since(session: Session, user: bytes, since: int, limit: int) -> list[Pushed]:
    """Return the pushes of ``user`` since then (seconds since the epoch), the newest first.

    At least ``limit`` pushes are returned if there are so many.
    """
    query = (
        select(pushes.c.date, pushes.c.size)
        .where(
            pushes.c.repository_id == session.repository_id,
            pushes.c.user == user,
            pushes.c.date > since,
        )
        .order_by(pushes.c.push_id.desc())
        .limit(max(_COUNTED, limit))
    )
    return [Pushed(row.date, row.size or 0) for row in session.execute(query)]


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
        .where(
            pushes.c.repository_id == session.repository_id, pushes.c.user == user, is_stored()
        )
        .limit(most)
        .subquery()
    )
    return session.scalar(select(func.count()).select_from(some)) or 0
