"""Many rows at a time, in portions that both databases take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy.dialects import postgresql, sqlite

# Bound parameters a statement: SQLite takes 32,766.
BATCH = 500


def batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def upsert(connection: sqlalchemy.Connection, table: sqlalchemy.Table) -> Any:
    """An INSERT that knows ``ON CONFLICT``, as both databases have it."""
    insert = postgresql.insert if connection.dialect.name == 'postgresql' else sqlite.insert
    return insert(table)


def insert_new(
    connection: sqlalchemy.Connection, table: sqlalchemy.Table, rows: Sequence[Any]
) -> None:
    """Insert rows that may be there already, in whatever order others insert them."""
    if rows:
        connection.execute(upsert(connection, table).on_conflict_do_nothing(), rows)
