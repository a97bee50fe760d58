"""List, drop and rename the repositories of a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import delete, func, select, tuple_, update

from ..errors import Refused
from . import schema
from .batching import lock
from .schema import bundle_changesets, bundles, pushes, repositories
from .session import Session

#: Number of rows in one transaction.
_ROWS = 2000
#: Tables in the order in which their rows can be deleted. Words go with their changesets.
_TABLES = (
    schema.bundle_changesets,
    schema.push_changesets,
    schema.tombstones,
    schema.push_branches,
    schema.draft_roots,
    schema.marker_nodes,
    schema.markers,
    schema.bookmarks,
    schema.public_log,
    schema.public_bookmarks,
    schema.public_history,
    schema.bundles,
    schema.changesets,
    schema.pushes,
    schema.last_runs,
    schema.announcements,
    schema.audit,
)


class Repository(NamedTuple):
    """A repository of the database.

    ``last_push`` is in seconds since the epoch, None if there is none; ``bytes`` is the size of
    its ``bundles``.
    """

    name: str
    last_push_id: int
    last_push: int | None
    bundles: int
    bytes: int


def all_of(session: Session) -> list[Repository]:
    """Return all repositories of the database, by name."""
    stored = (
        select(
            bundles.c.repository_id,
            func.count().label('number'),
            func.sum(bundles.c.size).label('bytes'),
        )
        .group_by(bundles.c.repository_id)
        .subquery()
    )
    last_push = (
        select(pushes.c.date)
        .where(
            pushes.c.repository_id == repositories.c.id,
            pushes.c.push_id == repositories.c.last_push_id,
        )
        .scalar_subquery()
    )
    query = (
        select(
            repositories.c.name,
            repositories.c.last_push_id,
            last_push.label('last_push'),
            stored.c.number,
            stored.c.bytes,
        )
        .outerjoin(stored, stored.c.repository_id == repositories.c.id)
        .order_by(repositories.c.name)
    )
    return [
        Repository(
            row.name, row.last_push_id, row.last_push, row.number or 0, int(row.bytes or 0)
        )
        for row in session.execute(query)
    ]


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
    """Delete the repository's own row and its marks for deletion, after all other rows."""
    owner = session.scalar(select(session.repository_id))
    for table, column in (
        (schema.pending_deletions, schema.pending_deletions.c.repository_id),
        (repositories, repositories.c.id),
    ):
        session.execute(delete(table).where(column == owner))


def keys_of(session: Session, limit: int) -> list[str]:
    """Return keys of bundles that have the repository's name, ``limit`` at most."""
    query = (
        select(bundles.c.key)
        .where(
            bundles.c.repository_id == session.repository_id,
            bundles.c.key.between(f'{session.repository}/', f'{session.repository}0'),
        )
        .limit(limit)
    )
    return list(session.scalars(query))


def set_keys(session: Session, keys: Sequence[tuple[str, str]]) -> None:
    """Change the keys of bundles; ``keys`` are pairs of the old and the new key."""
    for old, new in keys:
        session.execute(
            update(bundles)
            .where(bundles.c.repository_id == session.repository_id, bundles.c.key == old)
            .values(key=new)
        )


def rename(session: Session, name: str) -> bool:
    """Rename the repository; return False if bundles still have the old name in their keys.

    Raise `Refused` if there is a repository of the new name, or none of the old one.
    """
    owner = session.scalar(select(session.repository_id))
    if owner is None:
        raise Refused(f'the database has no repository "{session.repository}"')
    lock(session.connection, owner)
    if session.scalar(select(repositories.c.id).where(repositories.c.name == name)) is not None:
        raise Refused(f'the database has a repository "{name}" already')
    if keys_of(session, 1):
        return False
    session.execute(update(repositories).where(repositories.c.id == owner).values(name=name))
    return True
