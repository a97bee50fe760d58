"""Statements for both databases: many rows at once, insertions, a lock."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import BigInteger, Table, UniqueConstraint, cast, extract, func, select

from . import engine
from .schema import repositories

# Number of rows or values in one statement. SQLite takes 32,766 bound parameters.
BATCH = 500


def batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def upsert(connection: sqlalchemy.Connection, table: sqlalchemy.TableClause) -> Any:
    """Return an INSERT that supports ``ON CONFLICT``, in the dialect of the database."""
    # Importing the other dialect too would take as long as a transaction.
    dialect = importlib.import_module(f'sqlalchemy.dialects.{connection.dialect.name}')
    return dialect.insert(table)


def insert_new(
    connection: sqlalchemy.Connection, table: sqlalchemy.TableClause, rows: Sequence[Any]
) -> None:
    """Insert ``rows``, except those that exist or that another transaction inserts first.

    An id that is taken, because its sequence is behind, is an error.
    """
    if rows:
        key: Any = table.primary_key
        if isinstance(table, Table):
            constraints = sorted(table.constraints, key=lambda one: str(one.name))
            key = next((one for one in constraints if isinstance(one, UniqueConstraint)), key)
        columns = list(key.columns) or None
        insertion = upsert(connection, table).on_conflict_do_nothing(index_elements=columns)
        connection.execute(insertion, rows)


def clock(connection: sqlalchemy.Connection) -> sqlalchemy.ColumnElement[int]:
    """Return an expression: seconds since the epoch, by the database's clock."""
    if connection.dialect.name == 'postgresql':
        return cast(func.floor(extract('epoch', func.clock_timestamp())), BigInteger)
    return cast(func.strftime('%s', 'now'), BigInteger)


def lock(connection: sqlalchemy.Connection, repository_id: int) -> None:
    """Lock the repository's row until the end of the transaction, as recording a push does.

    Raise `errors.Misconfigured` if this code may not write to the schema, which may be newer
    than this process.
    """
    query = select(repositories.c.id, *engine.revision_columns()).where(
        repositories.c.id == repository_id
    )
    # FOR NO KEY UPDATE, not FOR UPDATE: a transaction that has inserted a row of the repository
    # has a lock FOR KEY SHARE, so that two of them would deadlock. SQLite has only one writer,
    # and no such clause.
    row = connection.execute(query.with_for_update(key_share=True, of=repositories)).one()
    engine.check_revision(row.found, row.min_code)


def ensure_repository(connection: sqlalchemy.Connection, name: str) -> int:
    """Return the id of a repository; insert its row if there is none."""
    query = select(repositories.c.id).where(repositories.c.name == name)
    found = connection.scalar(query)
    if found is None:
        insert_new(connection, repositories, [{'name': name}])
        found = connection.scalar(query)
    assert isinstance(found, int)
    return found
