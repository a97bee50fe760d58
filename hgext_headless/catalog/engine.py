"""Connections: deadlines, transactions, and errors with one clear line."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import select
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy
from sqlalchemy import event, exc

from ..model import HeadlessError, Misconfigured, Temporary
from . import schema

#: Seconds. A push asks twice, in discovery and for itself: twice the longer one
#: stays below the 30 in which a client has to be told.
CONNECT_TIMEOUT = 5
QUERY_TIMEOUT = 12

_WRITES = 'headless_writes'


class NoSchema(Misconfigured):
    """The database is empty."""


#: Called by whoever has a lock, before what needs it; raises `Temporary` where it is lost.
Lock = Callable[[], None]


class Database:
    """One database, with a pool of connections for this process."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._engine = engine
        self._checked = False
        self.memory: dict[Any, Any] = {}

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlalchemy.Connection]:
        """A transaction that only reads. Raises `Temporary`, `Misconfigured`."""
        with self._transaction(self._engine) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlalchemy.Connection]:
        """A transaction that commits at the end, and rolls back on an error."""
        engine = self._engine.execution_options(**{_WRITES: True})
        with self._transaction(engine) as connection:
            yield connection

    @contextlib.contextmanager
    def migrating(self) -> Iterator[sqlalchemy.Connection]:
        """Like `writing`, for a database whose schema may be missing or old."""
        engine = self._engine.execution_options(**{_WRITES: True})
        with clear_errors(), engine.begin() as connection:
            yield connection
        self._checked = False

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[Lock | None]:
        """A lock that one process at a time has, and that ends with it; None where
        another one has it."""
        if self._engine.dialect.name == 'postgresql':
            locked = _advisory_lock(self._engine, name)
        else:
            locked = _file_lock(f'{self._engine.url.database}.lock')
        with locked as lock:
            yield lock

    @contextlib.contextmanager
    def _transaction(self, engine: sqlalchemy.Engine) -> Iterator[sqlalchemy.Connection]:
        with clear_errors(), engine.begin() as connection:
            if not self._checked:
                check_schema(connection)
                self._checked = True
            yield connection


@contextlib.contextmanager
def _advisory_lock(engine: sqlalchemy.Engine, name: str) -> Iterator[Lock | None]:
    key = zlib.crc32(f'hgext_headless {name}'.encode())
    function = sqlalchemy.func
    with clear_errors(), engine.connect() as connection:
        connection = connection.execution_options(isolation_level='AUTOCOMMIT')
        if not connection.scalar(sqlalchemy.select(function.pg_try_advisory_lock(key))):
            yield None
            return

        def still_held() -> None:
            with clear_errors():
                connection.execute(sqlalchemy.select(1))

        try:
            yield still_held
        finally:
            with contextlib.suppress(exc.SQLAlchemyError):  # it ends with the connection anyway
                connection.execute(sqlalchemy.select(function.pg_advisory_unlock(key)))


@contextlib.contextmanager
def _file_lock(path: str) -> Iterator[Lock | None]:
    try:
        file = open(path, 'ab')
    except OSError as error:
        raise Temporary(f'the lock file cannot be opened: {error.strerror}') from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        yield lambda: None


def check_schema(connection: sqlalchemy.Connection) -> None:
    """Raise `Misconfigured` unless the schema is the one this code works with."""
    found = schema_revision(connection)
    hint = 'run "hg admin::headless-init"'
    if found is None:
        raise NoSchema(f'the database has no schema: {hint}')
    if found < schema.REVISION:
        raise Misconfigured(
            f'the schema of the database is older ({found}) than this code '
            f'({schema.REVISION}): {hint}'
        )
    if found > schema.REVISION:
        raise Misconfigured(
            f'the schema of the database is newer ({found}) than this code '
            f'({schema.REVISION}): upgrade hgext_headless on this server'
        )


def schema_revision(connection: sqlalchemy.Connection) -> str | None:
    if not sqlalchemy.inspect(connection).has_table('alembic_version'):
        return None
    version: str | None = connection.scalar(
        sqlalchemy.text('SELECT version_num FROM alembic_version')
    )
    return version


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Turn the driver's errors into ours, without a password in them."""
    try:
        yield
    except HeadlessError:
        raise
    except (exc.OperationalError, exc.InterfaceError) as error:
        text = str(error.orig).strip()
        if any(sign in text for sign in ('password', 'role "', 'authentication', 'pg_hba')):
            raise Temporary('the database refuses the credentials of this server') from error
        if 'does not exist' in text:
            raise Misconfigured('the database does not exist') from error
        raise Temporary('the database is not reachable or too slow') from error
    except exc.ProgrammingError as error:
        if 'permission denied' in str(error.orig):
            raise Misconfigured('the database role lacks a right on a table') from error
        raise Misconfigured('the schema of the database does not fit this code') from error
    except exc.SQLAlchemyError as error:
        raise Temporary(f'the database failed ({type(error).__name__})') from error


def open_database(url: str) -> Database:
    """The database at a SQLAlchemy URL; no connection is opened yet.

    Raises `Misconfigured` where the URL is not one.
    """
    return _open(url, os.getpid())


@functools.cache
def _open(url: str, pid: int) -> Database:
    # One pool a process: a forked child must not use its parent's sockets.
    try:
        parsed = sqlalchemy.make_url(url)
        engine = _sqlite(parsed) if parsed.get_backend_name() == 'sqlite' else _postgres(parsed)
    except (exc.ArgumentError, ValueError) as error:
        raise Misconfigured('headless.database is not a SQLAlchemy URL') from error
    return Database(engine)


def _postgres(url: sqlalchemy.URL) -> sqlalchemy.Engine:
    import psycopg2.extensions

    psycopg2.extensions.set_wait_callback(_wait)
    milliseconds = QUERY_TIMEOUT * 1000
    return sqlalchemy.create_engine(
        url,
        # Whoever waits for a lock must see what the other has done.
        isolation_level='READ COMMITTED',
        pool_size=4,
        max_overflow=16,
        pool_timeout=CONNECT_TIMEOUT,
        pool_recycle=300,
        pool_pre_ping=True,
        connect_args={
            'connect_timeout': CONNECT_TIMEOUT,
            'application_name': 'hgext_headless',
            'options': f'-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}',
        },
    )


def _wait(connection: Any) -> None:
    """Wait for Postgres, but not for ever: a server that hangs sends nothing.

    psycopg2's own example of a wait callback, with a deadline.
    """
    import psycopg2
    from psycopg2 import extensions

    # libpq's own connect_timeout does not count where a callback waits.
    connecting = connection.status == extensions.STATUS_SETUP
    deadline = time.monotonic() + (CONNECT_TIMEOUT if connecting else QUERY_TIMEOUT)
    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        remaining = deadline - time.monotonic()
        # Not select(): it takes no descriptor of 1,024 or more.
        poller = select.poll()
        events = select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
        poller.register(connection.fileno(), events)
        if remaining <= 0 or not poller.poll(remaining * 1000):
            raise psycopg2.OperationalError('timeout expired')


def _sqlite(url: sqlalchemy.URL) -> sqlalchemy.Engine:
    engine = sqlalchemy.create_engine(
        url, connect_args={'timeout': QUERY_TIMEOUT, 'check_same_thread': False}
    )

    # SQLAlchemy's own recipe for transactions that SQLite really isolates.
    @event.listens_for(engine, 'connect')
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.execute('PRAGMA journal_mode=WAL')
        connection.execute('PRAGMA synchronous=FULL')
        connection.execute('PRAGMA foreign_keys=ON')

    @event.listens_for(engine, 'begin')
    def begin(connection: sqlalchemy.Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql('BEGIN IMMEDIATE' if writes else 'BEGIN')

    return engine
