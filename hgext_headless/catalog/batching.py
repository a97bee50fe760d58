"""What both databases take alike: many rows at a time, insertions, a lock."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import BigInteger, cast, extract, func, select

from . import engine
from .schema import repositories

# Bound parameters a statement: SQLite takes 32,766.
BATCH = 500


def batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def upsert(connection: sqlalchemy.Connection, table: sqlalchemy.TableClause) -> Any:
    """An INSERT that knows ``ON CONFLICT``, as both databases have it."""
    # The dialect that is not used takes as long to import as a transaction.
    dialect = importlib.import_module(f'sqlalchemy.dialects.{connection.dialect.name}')
    return dialect.insert(table)


def insert_new(
    connection: sqlalchemy.Connection, table: sqlalchemy.TableClause, rows: Sequence[Any]
) -> None:
    """Insert rows that may be there already, in whatever order others insert them."""
    if rows:
        connection.execute(upsert(connection, table).on_conflict_do_nothing(), rows)


def clock(connection: sqlalchemy.Connection) -> sqlalchemy.ColumnElement[int]:
    """Seconds since the epoch, by the database's clock."""
    if connection.dialect.name == 'postgresql':
        return cast(func.floor(extract('epoch', func.clock_timestamp())), BigInteger)
    return cast(func.strftime('%s', 'now'), BigInteger)


def lock(connection: sqlalchemy.Connection, repository_id: int) -> None:
    """Lock the repository's row until the end of the transaction: recording a push ends
    with it.

    Raises `errors.Misconfigured` where the schema takes no writes from this code, which
    may have been running for long.
    """
    query = select(repositories.c.id, *engine.revision_columns()).where(
        repositories.c.id == repository_id
    )
    # Not FOR UPDATE: each row that a transaction has inserted holds a share of the key, and
    # two of them would wait for each other. SQLite has one writer anyway, and no such clause.
    row = connection.execute(query.with_for_update(key_share=True, of=repositories)).one()
    engine.check_revision(row.found, row.min_code)


def ensure_repository(connection: sqlalchemy.Connection, name: str) -> int:
    """The id of a repository, which gets its row at its first push."""
    query = select(repositories.c.id).where(repositories.c.name == name)
    found = connection.scalar(query)
    if found is None:
        insert_new(connection, repositories, [{'name': name}])
        found = connection.scalar(query)
    assert isinstance(found, int)
    return found
