"""The draft roots of recent pushes, which ``listkeys phases`` names.

Times are by the database's clock, because those of push servers may differ. Old rows are
deleted by a later push, not ignored by a query, so that no jump of the clock hides a root from
the client that has just pushed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import delete, select

from ..model import Parents
from .batching import batches, clock, upsert
from .drafts import in_live_bundles
from .schema import bundle_changesets, changesets, draft_roots
from .session import Session

#: Minimum time in seconds to keep a root. A client asks within seconds of its push.
KEPT = 3600


def record(connection: sqlalchemy.Connection, owner: int, changeset_ids: Sequence[int]) -> None:
    """Record the roots of a push; delete old ones. The repository's row must be locked."""
    if not changeset_ids:
        return
    now = clock(connection)
    for batch in batches(changeset_ids):
        statement = upsert(connection, draft_roots).values(
            [{'repository_id': owner, 'changeset_id': one, 'pushed': now} for one in batch]
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[draft_roots.c.changeset_id],
                set_={'pushed': statement.excluded.pushed},
            )
        )
    connection.execute(
        delete(draft_roots).where(
            draft_roots.c.repository_id == owner, draft_roots.c.pushed < now - KEPT
        )
    )


def recent(session: Session, limit: int) -> list[Parents]:
    """Return the newest roots, ``limit`` at most."""
    query = (
        select(changesets.c.node, changesets.c.p1, changesets.c.p2)
        .join(draft_roots, draft_roots.c.changeset_id == changesets.c.id)
        .where(draft_roots.c.repository_id == session.repository_id)
        .order_by(draft_roots.c.pushed.desc(), draft_roots.c.changeset_id.desc())
        .limit(limit)
    )
    return [_parents(row) for row in session.execute(query)]


def stacks(session: Session, nodes: Iterable[bytes]) -> list[Parents]:
    """Return all changesets of the live bundles that hold one of ``nodes``."""
    found: dict[bytes, Parents] = {}
    for batch in batches(sorted(set(nodes))):
        holding = in_live_bundles(session, batch, bundle_changesets.c.bundle_id)
        query = (
            select(changesets.c.node, changesets.c.p1, changesets.c.p2)
            .join(bundle_changesets, bundle_changesets.c.changeset_id == changesets.c.id)
            .where(bundle_changesets.c.bundle_id.in_(holding))
        )
        for row in session.execute(query):
            found[bytes(row.node)] = _parents(row)
    return list(found.values())


def _parents(row: Any) -> Parents:
    return Parents(bytes(row.node), bytes(row.p1), bytes(row.p2))
