"""Drop a repository of a database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, tuple_

from .schema import bundle_changesets, bundles, metadata, pending_deletions, repositories
from .statements import Session

#: Number of rows in one transaction.
_ROWS = 2000


def drop_rows(session: Session) -> int:
    """Delete some of the repository's rows, not its own; return their number, 0 at the end."""
    of_bundles = select(bundles.c.id).where(session.mine(bundles))
    owned: dict[Any, Any] = {bundle_changesets: bundle_changesets.c.bundle_id.in_(of_bundles)}
    for table in reversed(metadata.sorted_tables):  # those that others refer to are the last
        if 'repository_id' in table.c and table is not pending_deletions:
            owned[table] = session.mine(table)
    for table, condition in owned.items():
        key = table.primary_key.columns
        some = select(*key).where(condition).limit(_ROWS)
        number = session.execute(delete(table).where(tuple_(*key).in_(some))).rowcount
        if number:
            return number
    return 0


def drop(session: Session) -> None:
    """Delete the repository's own row and its marks for deletion, after all other rows.

    The name stays known, with the last push id that it has had: see `epochs.make`.
    """
    last = session.scalar(
        delete(repositories)
        .where(repositories.c.id == session.owner)
        .returning(repositories.c.last_push_id)
    )
    session.execute(
        insert(repositories).values(
            name=session.repository, last_push_id=last, dropped=session.clock
        )
    )
