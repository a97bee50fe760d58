"""Drop a repository of a database."""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import delete, insert, select, tuple_

from . import schema
from .schema import bundle_changesets, bundles, repositories
from .statements import Session, clock, owner_of

#: Number of rows in one transaction.
_ROWS = 2000
#: Tables in the order in which their rows can be deleted. Words go with their changesets.
_TABLES = (
    schema.bundle_changesets,
    schema.push_changesets,
    schema.tombstones,
    schema.push_branches,
    schema.draft_roots,
    schema.other_pushes,
    schema.marker_nodes,
    schema.markers,
    schema.bookmarks,
    schema.public_log,
    schema.public_bookmarks,
    schema.public_history,
    schema.epochs,
    schema.bundles,
    schema.changesets,
    schema.pushes,
    schema.last_runs,
    schema.announcements,
    schema.audit,
)


def drop_rows(session: Session) -> int:
    """Delete some of the repository's rows, not its own; return their number, 0 at the end."""
    owner = session.scalar(select(session.repository_id))
    if owner is None:
        return 0
    for table in _TABLES:
        number = _drop_some(session.connection, table, owner)
        if number:
            return number
    return 0


def _drop_some(connection: sqlalchemy.Connection, table: sqlalchemy.Table, owner: int) -> int:
    own: sqlalchemy.ColumnElement[bool]
    if table is bundle_changesets:
        own = table.c.bundle_id.in_(select(bundles.c.id).where(bundles.c.repository_id == owner))
    else:
        own = table.c.repository_id == owner
    key = tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(own).limit(_ROWS)
    return connection.execute(delete(table).where(key.in_(some))).rowcount


def drop(session: Session) -> None:
    """Delete the repository's own row and its marks for deletion, after all other rows.

    The name stays known, with the last push id that it has had: see `epochs.make`.
    """
    owner = owner_of(session)
    last = session.scalar(select(repositories.c.last_push_id).where(repositories.c.id == owner))
    for table, column in (
        (schema.pending_deletions, schema.pending_deletions.c.repository_id),
        (repositories, repositories.c.id),
    ):
        session.execute(delete(table).where(column == owner))
    session.execute(
        insert(repositories).values(
            name=session.repository, last_push_id=last, dropped=clock(session.connection)
        )
    )
