"""A transaction about one repository, and statements for both databases: many rows, a lock."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy
from mercurial import changelog
from sqlalchemy import BigInteger, LargeBinary, Table, UniqueConstraint, cast, extract, func, select

from ..errors import Misconfigured
from . import engine
from .schema import repositories

Item = TypeVar('Item')
T = TypeVar('T', bytes, str, int)


class Session:
    """A transaction about one repository; a snapshot, if it only reads.

    ``repository_id`` is a scalar subquery: a repository may have no row, or have been dropped.
    """

    def __init__(self, connection: sqlalchemy.Connection, repository: str) -> None:
        self.connection = connection
        self.is_postgres = connection.dialect.name == 'postgresql'
        self.repository = repository
        self.repository_id = (
            select(repositories.c.id)
            .where(repositories.c.name == repository, repositories.c.dropped.is_(None))
            .scalar_subquery()
        )
        self.execute = connection.execute
        self.scalar = connection.scalar
        self.scalars = connection.scalars

    def mine(self, table: sqlalchemy.FromClause) -> sqlalchemy.ColumnElement[bool]:
        """Return the condition that a row of ``table`` is the repository's."""
        return table.c.repository_id == self.repository_id

    @functools.cached_property
    def owner(self) -> int:
        """The id of the repository.

        Raises `errors.Misconfigured` if it has no row: only ``headless-init`` and
        ``headless-import`` make one, so that a wrong name does not become a repository.
        """
        found: int | None = self.scalar(select(self.repository_id))
        if found is None:
            raise without_row(self)
        return found

    @property
    def clock(self) -> sqlalchemy.ColumnElement[int]:
        """An expression: the seconds since the epoch, by the database's clock."""
        return clock(self.connection)

    def lock(self) -> None:
        """Lock the repository's row until the end of the transaction, as recording a push does.

        Raise `errors.Misconfigured` if this code may not write to the schema, which may be newer
        than this process.
        """
        query = select(repositories.c.id, *engine.revision_columns())
        # FOR NO KEY UPDATE, not FOR UPDATE: a transaction that has inserted a row of the repository
        # has a lock FOR KEY SHARE, so that two of them would deadlock. SQLite has only one writer,
        # and no such clause.
        locked = query.where(repositories.c.id == self.owner).with_for_update(
            key_share=True, of=repositories
        )
        row = self.execute(locked).one()
        engine.check_revision(row.found, row.min_code)


# Number of rows or values in one statement. SQLite takes 32,766 bound parameters.
BATCH = 500


def batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def portions(
    items: Iterable[Item], number: int, weigh: Callable[[Item], float], weight: float
) -> Iterator[list[Item]]:
    """Yield lists of at most ``number`` items that weigh at most ``weight`` together, or of one."""
    portion: list[Item] = []
    total = 0.0
    for item in items:
        if portion and (len(portion) == number or total + weigh(item) > weight):
            yield portion
            portion, total = [], 0.0
        portion.append(item)
        total += weigh(item)
    if portion:
        yield portion


def rows(
    session: Session, query: sqlalchemy.Select[Any], column: Any, values: Iterable[Any]
) -> Iterator[Any]:
    """Yield the rows of ``query`` whose ``column`` is one of ``values``."""
    for batch in batches(sorted(set(values))):
        yield from session.execute(query.where(column.in_(batch)))


def present(
    session: Session, column: sqlalchemy.Column[T], values: Iterable[T], *conditions: Any
) -> set[T]:
    """Return those of ``values`` that ``column`` has, in rows of the repository.

    Only rows that fulfil all ``conditions`` count.
    """
    query = select(column).where(session.mine(column.table), *conditions)
    return {value for (value,) in rows(session, query, column, values)}


def upsert(connection: sqlalchemy.Connection, table: sqlalchemy.TableClause) -> Any:
    """Return an INSERT that supports ``ON CONFLICT``, in the dialect of the database."""
    # Importing the other dialect too would take as long as a transaction.
    dialect = importlib.import_module(f'sqlalchemy.dialects.{connection.dialect.name}')
    return dialect.insert(table)


def insert_new(
    session: Session, table: sqlalchemy.TableClause, rows: Sequence[Any], **values: Any
) -> None:
    """Insert ``rows``, except those that exist or that another transaction inserts first.

    All of them have the ``values``, which may be expressions. An id that is taken, because its
    sequence is behind, is an error.
    """
    if rows:
        columns = None
        if isinstance(table, Table):
            constraints = sorted(table.constraints, key=lambda one: str(one.name))
            unique = (one for one in constraints if isinstance(one, UniqueConstraint))
            columns = list(next(unique, table.primary_key).columns)
        statement = upsert(session.connection, table)
        if values:
            statement = statement.values(**values)
        statement = statement.on_conflict_do_nothing(index_elements=columns)
        for batch in batches(rows):  # SQLAlchemy copies them
            session.execute(statement, batch)


def put(
    session: Session, table: Table, rows: Sequence[Any], where: Any = None, **values: Any
) -> None:
    """Insert ``rows`` or, where one with this primary key is there, set its other columns.

    All of them have the ``values``, which may be expressions. A row that is there and does not
    fulfil ``where`` stays as it is.
    """
    for batch in batches(rows):
        statement = upsert(session.connection, table).values(**values)
        others = {*batch[0], *values}.difference(table.primary_key.columns.keys())
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={name: statement.excluded[name] for name in sorted(others)},
            where=where,
        )
        session.execute(statement, batch)


def clock(connection: sqlalchemy.Connection, unit: int = 1) -> sqlalchemy.ColumnElement[int]:
    """Return an expression: the time since the epoch, by the database's clock.

    There are ``unit`` of its units in a second.
    """
    if connection.dialect.name == 'postgresql':
        return cast(func.floor(extract('epoch', func.clock_timestamp()) * unit), BigInteger)
    return cast(func.strftime('%s', 'now'), BigInteger) * unit


def now(session: Session) -> int:
    """Return the number of seconds since the epoch, by the database's clock."""
    return session.scalar(select(session.clock)) or 0


def without_row(session: Session) -> Misconfigured:
    """Return the error for a repository that has no row."""
    dropped = session.scalar(
        select(repositories.c.dropped).where(repositories.c.name == session.repository)
    )
    was = 'was dropped from the database' if dropped else 'is not in the database'
    return Misconfigured(
        f'the repository "{session.repository}" {was}: if headless.repository is right, run '
        '"hg admin::headless-init", or if it was lost, see "Restore" in docs/operating.rst'
    )


def beginning(column: sqlalchemy.Column[bytes], size: int) -> sqlalchemy.ColumnElement[bytes]:
    """Return the first ``size`` bytes of a column, under its name."""
    found = func.substr(column, 1, size, type_=LargeBinary)
    return func.coalesce(found, column).label(column.name)  # of nothing, SQLite returns NULL


def split_extras(column: bytes) -> dict[bytes, bytes]:
    return dict(changelog.decodeextra(column))


def split_nodes(column: bytes) -> tuple[bytes, ...]:
    """Split concatenated nodes of 20 bytes each."""
    return tuple(column[i : i + 20] for i in range(0, len(column), 20))
