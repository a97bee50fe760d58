"""A ``pushlog2.db``: the pushlog of hg.mozilla.org's extension, in SQLite.

The changesets of a push are in the order of ``rev``, their revision number in the repository.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy
from mercurial.node import nullid, wdirid
from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    cast,
    exc,
    func,
    or_,
    pool,
    select,
)

from .catalog.batching import batches
from .errors import Refused, Temporary
from .model import Conflict, PastPush

metadata = MetaData()

pushlog = Table(
    'pushlog',
    metadata,
    Column('id', Integer, primary_key=True),
    Column('user', Text),
    Column('date', Integer),
    Index('pushlog_date', 'date'),
    Index('pushlog_user', 'user'),
    sqlite_autoincrement=True,
)

changesets = Table(
    'changesets',
    metadata,
    Column('pushid', Integer),
    Column('rev', Integer),
    Column('node', Text),
    Index('changeset_node', 'node', unique=True),
    Index('changeset_rev', 'rev', unique=True),
    Index('changeset_pushid', 'pushid'),
)

# The user is cast because SQLite allows values of any type in a column.
entries = select(pushlog.c.id, cast(pushlog.c.user, Text).label('user'), pushlog.c.date)

#: Maximum number of pushes in a batch, and of changesets after which no push is added to it.
PUSHES, CHANGESETS = 500, 5000
#: The largest integer that JSON numbers represent exactly, and the end of the year 9999.
_MAX_ID, _MAX_DATE = 2**53, 253402300799
#: Seconds to wait for a lock on the file.
_TIMEOUT = 10


class File:
    """An open pushlog2.db."""

    def __init__(self, engine: sqlalchemy.Engine, path: str) -> None:
        self._engine = engine
        self._path = path

    @contextlib.contextmanager
    def connected(self) -> Iterator[sqlalchemy.Connection]:
        """Open a transaction.

        Raise `Refused` if the file is not a pushlog2.db, and `Temporary` if it is locked or
        cannot be written.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except exc.OperationalError as error:
            if any(sign in str(error.orig) for sign in ('locked', 'full', 'disk')):
                raise Temporary(f'{self._path}: {error.orig}') from error
            raise Refused(f'{self._path} is no pushlog2.db: {error.orig}') from error
        except exc.DatabaseError as error:
            raise Refused(f'{self._path} is no pushlog2.db: {error.orig}') from error

    def check(self) -> tuple[int, int]:
        """Return the number of pushes and the highest id. Raise `Refused` if a row is invalid."""
        id, date, node = pushlog.c.id, pushlog.c.date, changesets.c.node
        number = ('integer', 'real')
        bad_push = select(id).where(
            or_(
                func.typeof(id) != 'integer',
                ~id.between(1, _MAX_ID),
                func.typeof(date).not_in(number),
                ~date.between(0, _MAX_DATE),
            )
        )
        bad_node = select(changesets.c.pushid, node).where(
            or_(
                node.is_(None),
                func.length(node) != 40,
                node.op('GLOB')('*[^0-9a-fA-F]*'),
                node.in_([nullid.hex(), wdirid.hex()]),
            )
        )
        with self.connected() as connection:
            for (push_id,) in connection.execute(bad_push.limit(1)):
                raise Refused(f'{self._path}: push {push_id} has a bad id or date')
            for push_id, name in connection.execute(bad_node.limit(1)):
                shown = repr(name)[:80]
                raise Refused(
                    f'{self._path}: push {push_id} names {shown}, which is no changeset'
                )
            count, last = connection.execute(select(func.count(), func.max(id))).one()
            return count, last or 0

    def pushes(self, upto: int) -> Iterator[list[PastPush]]:
        """Yield all pushes with ids up to ``upto``, in order and in batches."""
        pushes = self._each(upto)
        for first in pushes:
            batch, size = [first], len(first.nodes)
            while len(batch) < PUSHES and size < CHANGESETS:
                push = next(pushes, None)
                if push is None:
                    break
                batch.append(push)
                size += len(push.nodes)
            yield batch

    def _each(self, upto: int) -> Iterator[PastPush]:
        # A transaction for each page: writers need not wait until the end.
        seen = 0
        while True:
            page = (
                entries.where(pushlog.c.id > seen, pushlog.c.id <= upto)
                .order_by(pushlog.c.id)
                .limit(PUSHES)
            )
            with self.connected() as connection:
                rows = connection.execute(page).all()
                if not rows:
                    return
                first, seen = rows[0].id, rows[-1].id
                yield from _with_names(rows, self._names(connection, first, seen))

    def _names(
        self, connection: sqlalchemy.Connection, first: int, last: int
    ) -> Iterator[tuple[int, Iterator[Any]]]:
        query = (
            select(changesets.c.pushid, changesets.c.node)
            .where(changesets.c.pushid.between(first, last))
            .order_by(changesets.c.pushid, changesets.c.rev)
        )
        return itertools.groupby(connection.execute(query), lambda row: row.pushid)


def _with_names(
    rows: Sequence[Any], names: Iterator[tuple[int, Iterator[Any]]]
) -> Iterator[PastPush]:
    push_id, group = next(names, (None, iter(())))
    for row in rows:
        # Mozilla's extension does not show changesets of a missing push either.
        while push_id is not None and push_id < row.id:
            push_id, group = next(names, (None, iter(())))
        nodes = [bytes.fromhex(n.node.decode('ascii')) for n in group] if push_id == row.id else []
        yield PastPush(row.id, row.user or b'', int(row.date), tuple(nodes))


@contextlib.contextmanager
def reading(path: str) -> Iterator[File]:
    """Open the pushlog2.db at ``path`` read-only.

    Its methods raise `errors.Refused` if it is not one, and `errors.Temporary` if it is locked.
    """
    with opened_engine(path, 'ro') as engine:
        yield File(engine, path)


@contextlib.contextmanager
def opened_engine(path: str, mode: str) -> Iterator[sqlalchemy.Engine]:
    """Open the SQLite file at ``path`` with a ``mode`` of SQLite's URIs."""
    url = f'{Path(path).absolute().as_uri()}?mode={mode}'

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(url, uri=True, timeout=_TIMEOUT)
        connection.text_factory = bytes
        return connection

    engine = sqlalchemy.create_engine('sqlite://', creator=connect, poolclass=pool.StaticPool)
    try:
        yield engine
    finally:
        engine.dispose()


class WritableFile(File):
    """An open pushlog2.db to which pushes can be added."""

    def make(self) -> None:
        """Create the tables that are missing."""
        with self.connected() as connection:
            metadata.create_all(connection)

    def add(
        self, pushes: Sequence[PastPush], rev: Callable[[bytes], int | None] | None
    ) -> list[Conflict]:
        """Add the pushes that the file lacks, in one transaction; return those that conflict.

        ``rev`` returns a changeset's revision number, or None to leave the changeset out. If
        ``rev`` is None, changesets are numbered consecutively.
        """
        with self.connected() as connection:
            return _add(connection, pushes, rev)


def _add(
    connection: sqlalchemy.Connection,
    pushes: Sequence[PastPush],
    rev: Callable[[bytes], int | None] | None,
) -> list[Conflict]:
    if rev is None:
        top = connection.scalar(select(func.max(changesets.c.rev)))
        numbers = itertools.count(0 if top is None else top + 1)
    existing = _existing(connection, [push.push_id for push in pushes])
    owners = _owners(connection, [node for push in pushes for node in push.nodes])
    conflicts: list[Conflict] = []
    new: list[dict[str, Any]] = []
    names: list[dict[str, Any]] = []
    for push in pushes:
        user, date = existing.get(push.push_id, (push.user, push.date))
        if (user, date) != (push.user, push.date):
            conflicts.append(Conflict(push, recorded=PastPush(push.push_id, user, date, ())))
            continue
        # A tombstone may be in several pushes.
        others = [n for n in push.nodes if owners.get(n, push.push_id) != push.push_id]
        taken = next((n for n in others if n not in push.tombstoned), None)
        if taken is not None:
            conflicts.append(Conflict(push, node=taken, owner=owners[taken]))
            continue
        if push.push_id not in existing:
            new.append({'id': push.push_id, 'name': user, 'date': date})
        for node in push.nodes:
            if node in owners:
                continue
            number = next(numbers) if rev is None else rev(node)
            if number is not None:
                owners[node] = push.push_id
                names.append({'pushid': push.push_id, 'rev': number, 'node': node.hex()})
    if new:
        # The column must be text, but user names need not be UTF-8.
        user_text = cast(bindparam('name', type_=LargeBinary), Text)
        connection.execute(pushlog.insert().values(user=user_text), new)
    if names:
        connection.execute(changesets.insert(), names)
    return conflicts


def _existing(
    connection: sqlalchemy.Connection, push_ids: Sequence[int]
) -> dict[int, tuple[bytes, int]]:
    """Return user and date of those pushes that the file has."""
    return {
        row.id: (row.user or b'', int(row.date))
        for batch in batches(push_ids)
        for row in connection.execute(entries.where(pushlog.c.id.in_(batch)))
    }


def _owners(connection: sqlalchemy.Connection, nodes: Sequence[bytes]) -> dict[bytes, int]:
    """Return the push ids of those changesets that the file has."""
    return {
        bytes.fromhex(row.node.decode('ascii')): row.pushid
        for batch in batches(nodes)
        for row in connection.execute(
            select(changesets).where(changesets.c.node.in_([node.hex() for node in batch]))
        )
    }


@contextlib.contextmanager
def writing(path: str) -> Iterator[WritableFile]:
    """Open the pushlog2.db at ``path`` for writing; create it if it does not exist.

    Its methods raise what those of `reading` raise.
    """
    with opened_engine(path, 'rwc') as engine:
        file = WritableFile(engine, path)
        file.make()
        yield file
