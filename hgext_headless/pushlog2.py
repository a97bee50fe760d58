"""A ``pushlog2.db``: the pushlog as hg.mozilla.org's extension keeps it, in SQLite.

Within a push changesets are ordered by ``rev``, their number in the repository.
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

# SQLite lets any type stand in a column.
entries = select(pushlog.c.id, cast(pushlog.c.user, Text).label('user'), pushlog.c.date)

#: Pushes that are handed out at once, and changesets after which it is enough.
PUSHES, CHANGESETS = 500, 5000
#: What JSON's numbers bear, and the year 9999.
_MAX_ID, _MAX_DATE = 2**53, 253402300799
#: Seconds to wait for whoever writes to the file.
_TIMEOUT = 10


class File:
    """An open pushlog2.db."""

    def __init__(self, engine: sqlalchemy.Engine, path: str) -> None:
        self._engine = engine
        self._path = path

    @contextlib.contextmanager
    def connected(self) -> Iterator[sqlalchemy.Connection]:
        """One transaction. Raises `Refused` where this is no pushlog2.db, and `Temporary`
        where it is locked or can't be written."""
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
        """How many pushes there are, and the highest id. Raises `Refused` where a row
        makes no sense."""
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
        """All pushes up to an id, in order, some at a time."""
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
        # Page by page: nobody who writes has to wait until the end.
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
        # A changeset whose push is missing is invisible to its extension too.
        while push_id is not None and push_id < row.id:
            push_id, group = next(names, (None, iter(())))
        nodes = [bytes.fromhex(n.node.decode('ascii')) for n in group] if push_id == row.id else []
        yield PastPush(row.id, row.user or b'', int(row.date), tuple(nodes))


@contextlib.contextmanager
def reading(path: str) -> Iterator[File]:
    """The pushlog2.db at a path, never written to. What is done with it raises
    `errors.Refused` where it is none, and `errors.Temporary` where it is locked."""
    with opened_engine(path, 'ro') as engine:
        yield File(engine, path)


@contextlib.contextmanager
def opened_engine(path: str, mode: str) -> Iterator[sqlalchemy.Engine]:
    """The file at a path, in one of SQLite's modes of opening."""
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
        """Make the tables that are missing."""
        with self.connected() as connection:
            metadata.create_all(connection)

    def add(
        self, pushes: Sequence[PastPush], rev: Callable[[bytes], int | None] | None
    ) -> list[Conflict]:
        """Write pushes in one transaction, but those that are there. Returns those that
        clash with what is there.

        ``rev`` tells a changeset's number; without one the changeset is left out.
        None: they are numbered as they come.
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
    there = _there(connection, [push.push_id for push in pushes])
    owners = _owners(connection, [node for push in pushes for node in push.nodes])
    conflicts: list[Conflict] = []
    new: list[dict[str, Any]] = []
    names: list[dict[str, Any]] = []
    for push in pushes:
        user, date = there.get(push.push_id, (push.user, push.date))
        if (user, date) != (push.user, push.date):
            conflicts.append(Conflict(push, recorded=PastPush(push.push_id, user, date, ())))
            continue
        # Tombstones of the same name may stand in several pushes.
        others = [n for n in push.nodes if owners.get(n, push.push_id) != push.push_id]
        taken = next((n for n in others if n not in push.tombstoned), None)
        if taken is not None:
            conflicts.append(Conflict(push, node=taken, owner=owners[taken]))
            continue
        if push.push_id not in there:
            new.append({'id': push.push_id, 'name': user, 'date': date})
        for node in push.nodes:
            if node in owners:
                continue
            number = next(numbers) if rev is None else rev(node)
            if number is not None:
                owners[node] = push.push_id
                names.append({'pushid': push.push_id, 'rev': number, 'node': node.hex()})
    if new:
        # Users need not be UTF-8, and have to be text all the same.
        user_text = cast(bindparam('name', type_=LargeBinary), Text)
        connection.execute(pushlog.insert().values(user=user_text), new)
    if names:
        connection.execute(changesets.insert(), names)
    return conflicts


def _there(
    connection: sqlalchemy.Connection, push_ids: Sequence[int]
) -> dict[int, tuple[bytes, int]]:
    """User and date of those pushes that the file has."""
    return {
        row.id: (row.user or b'', int(row.date))
        for batch in batches(push_ids)
        for row in connection.execute(entries.where(pushlog.c.id.in_(batch)))
    }


def _owners(connection: sqlalchemy.Connection, nodes: Sequence[bytes]) -> dict[bytes, int]:
    """For each changeset that the file has: its push."""
    return {
        bytes.fromhex(row.node.decode('ascii')): row.pushid
        for batch in batches(nodes)
        for row in connection.execute(
            select(changesets).where(changesets.c.node.in_([node.hex() for node in batch]))
        )
    }


@contextlib.contextmanager
def writing(path: str) -> Iterator[WritableFile]:
    """As `reading`, to write to it; made where there is none."""
    with opened_engine(path, 'rwc') as engine:
        file = WritableFile(engine, path)
        file.make()
        yield file
