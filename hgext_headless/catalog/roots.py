"""The draft roots of recent pushes, which ``listkeys phases`` names.

The database's clock alone counts, for those of push servers may differ; and rows go with
a later push, so that no jump of it hides a root from the push that has just left it.
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

#: Seconds for which a root is kept. A client asks within seconds of its push.
KEPT = 3600


def record(connection: sqlalchemy.Connection, owner: int, changeset_ids: Sequence[int]) -> None:
    """Note the roots of a push, with the repository's row locked; drop those of old ones."""
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
    """The newest roots, at most ``limit``."""
    query = (
        select(changesets.c.node, changesets.c.p1, changesets.c.p2)
        .join(draft_roots, draft_roots.c.changeset_id == changesets.c.id)
        .where(draft_roots.c.repository_id == session.repository_id)
        .order_by(draft_roots.c.pushed.desc(), draft_roots.c.changeset_id.desc())
        .limit(limit)
    )
    return [_parents(row) for row in session.execute(query)]


def stacks(
    session: Session, nodes: Iterable[bytes]
) -> list[Parents]:
    """All changesets of the live bundles that hold one of some drafts."""
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
