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

from ..model import Clash, PastPush, Refused, Temporary
from .batching import batches

_metadata = MetaData()

_pushlog = Table(
    'pushlog',
    _metadata,
    Column('id', Integer, primary_key=True),
    Column('user', Text),
    Column('date', Integer),
    Index('pushlog_date', 'date'),
    Index('pushlog_user', 'user'),
    sqlite_autoincrement=True,
)

_changesets = Table(
    'changesets',
    _metadata,
    Column('pushid', Integer),
    Column('rev', Integer),
    Column('node', Text),
    Index('changeset_node', 'node', unique=True),
    Index('changeset_rev', 'rev', unique=True),
    Index('changeset_pushid', 'pushid'),
)

# SQLite lets any type stand in a column.
_entries = select(_pushlog.c.id, cast(_pushlog.c.user, Text).label('user'), _pushlog.c.date)

#: Pushes that are handed out at once, and changesets after which it is enough.
PUSHES, CHANGESETS = 500, 5000
#: Seconds to wait for whoever writes to the file.
_TIMEOUT = 10


class File:
    """An open pushlog2.db."""

    def __init__(self, engine: sqlalchemy.Engine, path: str) -> None:
        self._engine = engine
        self._path = path

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlalchemy.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except exc.OperationalError as error:
            if any(sign in str(error.orig) for sign in ('locked', 'full', 'disk')):
                raise Temporary(f'{self._path}: {error.orig}') from error
            raise Refused(f'{self._path} is no pushlog2.db: {error.orig}') from error
        except exc.DatabaseError as error:
            raise Refused(f'{self._path} is no pushlog2.db: {error.orig}') from error

    def make(self) -> None:
        """Make the tables that are missing."""
        with self._connected() as connection:
            _metadata.create_all(connection)

    def check(self) -> tuple[int, int]:
        """How many pushes there are, and the highest id. Raises `Refused` where a row
        makes no sense."""
        id, date, node = _pushlog.c.id, _pushlog.c.date, _changesets.c.node
        number = ('integer', 'real')
        bad_push = select(id).where(
            or_(func.typeof(id) != 'integer', id < 1, func.typeof(date).not_in(number))
        )
        bad_node = select(_changesets.c.pushid, node).where(
            or_(
                node.is_(None),
                func.length(node) != 40,
                node.op('GLOB')('*[^0-9a-fA-F]*'),
                node.in_([nullid.hex(), wdirid.hex()]),
            )
        )
        with self._connected() as connection:
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
                _entries.where(_pushlog.c.id > seen, _pushlog.c.id <= upto)
                .order_by(_pushlog.c.id)
                .limit(PUSHES)
            )
            with self._connected() as connection:
                rows = connection.execute(page).all()
                if not rows:
                    return
                first, seen = rows[0].id, rows[-1].id
                yield from _with_names(rows, self._names(connection, first, seen))

    def _names(
        self, connection: sqlalchemy.Connection, first: int, last: int
    ) -> Iterator[tuple[int, Iterator[Any]]]:
        query = (
            select(_changesets.c.pushid, _changesets.c.node)
            .where(_changesets.c.pushid.between(first, last))
            .order_by(_changesets.c.pushid, _changesets.c.rev)
        )
        return itertools.groupby(connection.execute(query), lambda row: row.pushid)

    def add(
        self, pushes: Sequence[PastPush], rev: Callable[[bytes], int | None] | None
    ) -> list[Clash]:
        """Write pushes in one transaction, but those that are there. Returns those that
        clash with what is there.

        ``rev`` tells a changeset's number; without one the changeset is left out.
        None: they are numbered as they come.
        """
        with self._connected() as connection:
            return _add(connection, pushes, rev)


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


def _add(
    connection: sqlalchemy.Connection,
    pushes: Sequence[PastPush],
    rev: Callable[[bytes], int | None] | None,
) -> list[Clash]:
    if rev is None:
        top = connection.scalar(select(func.max(_changesets.c.rev)))
        numbers = itertools.count(0 if top is None else top + 1)
    there = _there(connection, [push.push_id for push in pushes])
    owners = _owners(connection, [node for push in pushes for node in push.nodes])
    clashes: list[Clash] = []
    entries: list[dict[str, Any]] = []
    names: list[dict[str, Any]] = []
    for push in pushes:
        user, date = there.get(push.push_id, (push.user, push.date))
        if (user, date) != (push.user, push.date):
            clashes.append(Clash(push, recorded=PastPush(push.push_id, user, date, ())))
            continue
        # A tombstone's name may have come again since, with another push.
        others = [n for n in push.nodes if owners.get(n, push.push_id) != push.push_id]
        taken = next((n for n in others if n not in push.gone), None)
        if taken is not None:
            clashes.append(Clash(push, node=taken, owner=owners[taken]))
            continue
        if push.push_id not in there:
            entries.append({'id': push.push_id, 'name': user, 'date': date})
        for node in push.nodes:
            if node in owners:
                continue
            number = next(numbers) if rev is None else rev(node)
            if number is not None:
                owners[node] = push.push_id
                names.append({'pushid': push.push_id, 'rev': number, 'node': node.hex()})
    if entries:
        # Users need not be UTF-8, and have to be text all the same.
        user_text = cast(bindparam('name', type_=LargeBinary), Text)
        connection.execute(_pushlog.insert().values(user=user_text), entries)
    if names:
        connection.execute(_changesets.insert(), names)
    return clashes


def _there(
    connection: sqlalchemy.Connection, push_ids: Sequence[int]
) -> dict[int, tuple[bytes, int]]:
    """User and date of those pushes that the file has."""
    return {
        row.id: (row.user or b'', int(row.date))
        for batch in batches(push_ids)
        for row in connection.execute(_entries.where(_pushlog.c.id.in_(batch)))
    }


def _owners(connection: sqlalchemy.Connection, nodes: Sequence[bytes]) -> dict[bytes, int]:
    """For each changeset that the file has: its push."""
    return {
        bytes.fromhex(row.node.decode('ascii')): row.pushid
        for batch in batches(nodes)
        for row in connection.execute(
            select(_changesets).where(_changesets.c.node.in_([node.hex() for node in batch]))
        )
    }


@contextlib.contextmanager
def reading(path: str) -> Iterator[File]:
    """The pushlog2.db at a path, never written to. What is done with it raises
    `model.Refused` where it is none, and `model.Temporary` where it is locked."""
    with _opened(path, 'ro') as file:
        yield file


@contextlib.contextmanager
def writing(path: str) -> Iterator[File]:
    """As `reading`, to write to it; made where there is none."""
    with _opened(path, 'rwc') as file:
        file.make()
        yield file


@contextlib.contextmanager
def _opened(path: str, mode: str) -> Iterator[File]:
    url = f'{Path(path).absolute().as_uri()}?mode={mode}'

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(url, uri=True, timeout=_TIMEOUT)
        connection.text_factory = bytes
        return connection

    engine = sqlalchemy.create_engine('sqlite://', creator=connect, poolclass=pool.StaticPool)
    try:
        yield File(engine, path)
    finally:
        engine.dispose()
