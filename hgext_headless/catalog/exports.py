"""Read what is exported, in portions."""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import func, select

from ..model import Bundle
from . import statements
from .schema import LIVE, bookmarks, bundles, pushes
from .session import Session


def _newest(session: Session) -> sqlalchemy.ColumnElement[bool]:
    """Return the condition that a bundle is the newest live one with its head."""
    newer = bundles.alias('newer')
    return (
        (bundles.c.repository_id == session.repository_id)
        & (bundles.c.state == LIVE)
        & ~(
            select(newer.c.id)
            .where(
                newer.c.repository_id == bundles.c.repository_id,
                newer.c.head == bundles.c.head,
                newer.c.state == LIVE,
                newer.c.id > bundles.c.id,
            )
            .exists()
        )
    )


def bundle_count(session: Session) -> int:
    """Return the total number of bundles that `bundles_after` returns."""
    return session.scalar(select(func.count()).where(_newest(session))) or 0


def bundles_after(session: Session, after: int, limit: int) -> tuple[int, list[Bundle]]:
    """Return the next live bundles, oldest first, one for each head, without ``nodes``.

    ``after`` is 0, or the id that the last call returned with its bundles.
    """
    query = (
        select(bundles)
        .where(_newest(session), bundles.c.id > after)
        .order_by(bundles.c.id)
        .limit(limit)
    )
    found: list[Bundle] = []
    for row in session.execute(query):
        after = row.id
        bases = statements.split_nodes(row.bases)
        found.append(Bundle(row.key, row.size, row.sha512, bytes(row.head), bases))
    return after, found


def push_count(session: Session) -> int:
    query = select(func.count()).where(pushes.c.repository_id == session.repository_id)
    return session.scalar(query) or 0


def bookmarks_after(session: Session, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
    """Return the next bookmarks of drafts after the name ``after``: pairs of name and node."""
    query = (
        select(bookmarks.c.name, bookmarks.c.node)
        .where(bookmarks.c.repository_id == session.repository_id, bookmarks.c.name > after)
        .order_by(bookmarks.c.name)
        .limit(limit)
    )
    return [(bytes(row.name), bytes(row.node)) for row in session.execute(query)]
