"""Connections to the database: deadlines, transactions, and errors of one line."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import os
import re
import select
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import event, exc

from .. import lazy, sharing
from ..errors import HeadlessError, Misconfigured, Temporary
from . import schema

_WRITES = 'headless_writes'
#: If synchronous_commit is off, Postgres may lose acknowledged commits when it crashes.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', true) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)
#: Seconds without use after which a connection may be broken, and is tried before it is used.
_PING_AFTER = 1
_HINT = 'run "hg admin::headless-init"'
_EMPTY = f'{_HINT} or, if it had one, see "Restore" in docs/operating.rst'
#: Maximum length of what the database said: an error has 255 bytes.
_LONGEST_SAID = 150
_SERVER = re.compile(r'^\s*connection to server .*? failed: ')


class NoSchema(Misconfigured):
    """The database has no schema."""


class Unreachable(Temporary):
    """The database does not answer."""


class Options(NamedTuple):
    """Options of connections; the defaults are those of the settings.

    Timeouts are in seconds. A client gets an error after at most twice the longer one.
    """

    pool_size: int = 20
    connect_timeout: int = 5
    timeout: int = 12


DEFAULT_OPTIONS = Options()


class Database:
    """A database, with a pool of connections for this process."""

    def __init__(self, engine: sqlalchemy.Engine, options: Options) -> None:
        self._engine = engine
        self._options = options
        self._snapshot = engine
        if engine.dialect.name == 'postgresql':
            self._snapshot = engine.execution_options(isolation_level='REPEATABLE READ')
        #: Not empty once the schema was checked. `fail_fast` has it too.
        self._checked: list[bool] = []
        self._breaker = Breaker(engine)
        url = engine.url
        hosts = url.host or url.query.get('host') or url.database or ''
        #: What errors name: the host or hosts, or the file.
        self.where = hosts if isinstance(hosts, str) else ','.join(hosts)
        self._fails_fast = False
        self._turns: threading.Semaphore | None = None
        self.memory: dict[Any, Any] = {}

    @functools.cached_property
    def for_pages(self) -> Database:
        """The same database, for readers that together use half of the connections at most.

        So a push does not wait for pages. Raise `Temporary` if they do not get one in time.
        """
        found = copy.copy(self)
        found.__dict__.pop('fail_fast', None)
        found._turns = threading.BoundedSemaphore(max(1, self._options.pool_size // 2))
        return found

    @functools.cached_property
    def fail_fast(self) -> Database:
        """The same database, for callers for whom it is optional.

        It raises `Unreachable` at once if the database has not answered lately.
        """
        found = copy.copy(self)
        found._fails_fast = True
        return found

    def reading(self) -> AbstractContextManager[sqlalchemy.Connection]:
        """Yield a connection in a transaction for reading: one snapshot, of its first statement.

        Raise `Temporary` and `Misconfigured`.
        """
        return self._transaction(self._snapshot)

    def writing(self) -> AbstractContextManager[sqlalchemy.Connection]:
        """Yield a connection in a transaction that is committed, or rolled back on an error."""
        return self._transaction(self._engine.execution_options(**{_WRITES: True}))

    @contextlib.contextmanager
    def migrating(self) -> Iterator[sqlalchemy.Connection]:
        """Do what `writing` does, for a database whose schema may be missing or old."""
        engine = self._engine.execution_options(**{_WRITES: True})
        with clear_errors(self.where), engine.begin() as connection:
            yield connection
        self._checked.clear()

    @contextlib.contextmanager
    def alone(self) -> Iterator[sqlalchemy.Connection]:
        """Yield a connection that is in no transaction and never goes back to the pool."""
        engine = self._engine.execution_options(isolation_level='AUTOCOMMIT')
        with engine.connect() as connection:
            connection.detach()
            yield connection

    def disconnect(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _transaction(self, engine: sqlalchemy.Engine) -> Iterator[sqlalchemy.Connection]:
        if self._fails_fast and self._breaker.is_open:
            raise Unreachable(_SLOW, self.where)
        try:
            with self._turn(), clear_errors(self.where), engine.begin() as connection:
                if not self._checked:
                    check_schema(connection)
                    self._checked.append(True)
                yield connection
        except Unreachable:
            self._breaker.open()
            raise

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if self._turns is None:
            yield
            return
        if not self._turns.acquire(timeout=self._options.connect_timeout):
            raise Temporary('too many pages ask the database at once')
        try:
            yield
        finally:
            self._turns.release()


class Breaker:
    """Knows whether a database answers; if not, tries it in the background until it does."""

    #: Seconds between two attempts.
    INTERVAL = 1

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        #: Whether the database does not answer.
        self.is_open = False

    def open(self) -> None:
        """Note that the database does not answer."""
        with self._lock:
            if not self.is_open:
                self.is_open = True
                threading.Thread(target=self._probe, daemon=True).start()

    def _probe(self) -> None:
        while True:
            time.sleep(self.INTERVAL)
            with contextlib.suppress(exc.SQLAlchemyError, HeadlessError):
                with self._engine.connect() as connection:
                    connection.execute(sqlalchemy.select(1))
                self.is_open = False
                return


@functools.cache
def revision_columns() -> tuple[Any, Any]:
    """Return columns: the schema's revision, and the oldest code that may write to it.

    Callers add them to a query that they make anyway. `check_revision` takes their values.
    """
    alembic = sqlalchemy.table('alembic_version', sqlalchemy.column('version_num'))
    compatibility = schema.compatibility.c
    found = sqlalchemy.select(alembic.c.version_num)
    min_code = sqlalchemy.select(compatibility.min_code).join(
        alembic, alembic.c.version_num == compatibility.revision
    )
    return found.scalar_subquery().label('found'), min_code.scalar_subquery().label('min_code')


def check_schema(connection: sqlalchemy.Connection) -> None:
    """Raise `Misconfigured` unless this code works with the schema."""
    found = schema_revision(connection)
    if found is None:
        raise NoSchema(f'the database has no schema: {_EMPTY}')
    newer = found > schema.REVISION
    min_code = connection.scalar(sqlalchemy.select(revision_columns()[1])) if newer else None
    check_revision(found, min_code)


def check_revision(found: str, min_code: str | None) -> None:
    """Raise `Misconfigured` unless this code may write to a schema of revision ``found``."""
    if found < schema.FIRST:
        raise Misconfigured(
            f'the schema of the database ({found}) is from before 1.0.0, and is not migrated: '
            'use a new database, and "hg admin::headless-rebuild"'
        )
    if found < schema.OLDEST:
        raise Misconfigured(
            f'the schema of the database is older ({found}) than this code '
            f'({schema.OLDEST}): {_HINT}'
        )
    if found > schema.REVISION and (min_code is None or min_code > schema.REVISION):
        raise Misconfigured(
            f'the schema of the database is newer ({found}) than this code '
            f'({schema.REVISION}): upgrade hgext_headless on this server'
        )


def schema_revision(connection: sqlalchemy.Connection) -> str | None:
    if not sqlalchemy.inspect(connection).has_table('alembic_version'):
        return None
    return connection.scalar(sqlalchemy.select(revision_columns()[0]))


@contextlib.contextmanager
def clear_errors(where: str) -> Iterator[None]:
    """Convert the driver's errors to our own, with what it said, which has no password.

    ``where`` is that of the database.
    """
    try:
        yield
    except HeadlessError:
        raise
    except exc.DBAPIError as error:
        code = getattr(error.orig, 'pgcode', None)
        kind, text = _failure(code, error)
        raise kind(text, _said(error.orig, where)) from error
    except exc.SQLAlchemyError as error:
        raise Temporary(f'the database failed ({type(error).__name__})', where) from error


_SLOW = 'the database is not reachable or too slow'
#: Beginnings of SQLSTATE codes, the longer ones first, or where there is no code, a part of what
#: libpq or SQLite says; the kind; and the text.
_FAILURES: tuple[tuple[str | tuple[str, ...], str, type[HeadlessError], str], ...] = (
    ('25006', r'readonly database', Temporary, 'the database is read-only'),
    ('42501', '', Misconfigured, 'the database role lacks a right on a table'),
    ('3D', r'FATAL:  database ".*" does not exist', Misconfigured, 'the database does not exist'),
    (
        '28',
        r'authentication failed|no password supplied|FATAL:  role ".*" (does not exist|is not)'
        r'|pg_hba\.conf',
        Temporary,
        'the database refuses the credentials of this server',
    ),
    (
        '',
        r'certificate|SSL was required|does not support SSL|definition of service|^invalid '
        r'|sslmode',
        Misconfigured,
        'the database cannot be reached with these settings',
    ),
    (
        '42P01',
        'no such table',
        Misconfigured,
        f'the database lacks a table: {_EMPTY}',
    ),
    (
        '42',
        'no such column',
        Misconfigured,
        'the schema of the database does not fit this code',
    ),
    ('53', r'disk is full', Temporary, 'the database is full'),
    (('57P', '08'), '', Unreachable, _SLOW),
    (('40', '55', '57'), '', Temporary, _SLOW),
)


def _failure(code: str | None, error: exc.DBAPIError) -> tuple[type[HeadlessError], str]:
    """Return the kind of an error of the driver, and its text without what was said."""
    for state, sign, kind, text in _FAILURES:
        if state and code.startswith(state) if code else sign and re.search(sign, str(error.orig)):
            return kind, text
    if code is None and isinstance(error, (exc.OperationalError, exc.InterfaceError)):
        return Unreachable, _SLOW
    return Temporary, f'the database failed ({type(error.orig).__name__})'


def _said(error: object, where: str) -> str:
    """Return what libpq or the server said, on one line, and which server."""
    # libpq has a line for each address and kind of connection, and names the server in most.
    lines = [' '.join(_SERVER.sub('', line).split()) for line in str(error).splitlines()]
    # What follows an empty line, a hint or a detail is for a terminal.
    first = [line for line in lines if line and not re.match(r'(LINE|HINT|DETAIL|\^|Is the)', line)]
    text, *others = dict.fromkeys(first) or ['']
    text = text if where in text else f'{where}: {text}'
    for other in others:
        text = f'{text}; {other}' if len(text) + len(other) < _LONGEST_SAID - 1 else text
    text = text.encode('ascii', 'replace').decode('ascii')
    return text if len(text) <= _LONGEST_SAID else f'{text[: _LONGEST_SAID - 3]}...'


def open_database(url: str, options: Options = DEFAULT_OPTIONS) -> Database:
    """Return the database at a SQLAlchemy URL, without a connection. Raise `Misconfigured`."""
    return _open(url, options, lazy.process())


@functools.cache
def _open(url: str, options: Options, pid: int) -> Database:
    # One pool for each process: a forked child must not use its parent's sockets.
    try:
        parsed = sqlalchemy.make_url(url)
        is_file = parsed.get_backend_name() == 'sqlite'
        engine = _sqlite(parsed, options) if is_file else _postgres(parsed, options)
    except (exc.ArgumentError, ValueError) as error:
        raise Misconfigured('headless.database is not a SQLAlchemy URL') from error
    return Database(engine, options)


def _postgres(url: sqlalchemy.URL, options: Options) -> sqlalchemy.Engine:
    from psycopg2 import extensions

    extensions.set_wait_callback(_wait)
    engine = sqlalchemy.create_engine(
        url,
        # A transaction that waited for a lock must see what the lock holder has committed.
        isolation_level='READ COMMITTED',
        pool_size=min(4, options.pool_size),
        max_overflow=max(0, options.pool_size - 4),
        pool_timeout=options.connect_timeout,
        pool_recycle=300,
        # What it probes for takes a query, and is not used.
        use_native_hstore=False,
        connect_args={
            'connect_timeout': options.connect_timeout,
            'application_name': 'hgext_headless',
            'connection_factory': type(
                'Connection', (extensions.connection,), {'options': options}
            ),
        },
    )
    milliseconds = options.timeout * 1000
    timeouts = (
        f'SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds}'
    )

    # As SQLAlchemy's `pool_pre_ping`, but not before each of a push's transactions.
    @event.listens_for(engine, 'checkin')
    def checkin(connection: Any, record: Any) -> None:
        record.info['used'] = time.monotonic()

    @event.listens_for(engine, 'checkout')
    def checkout(connection: Any, record: Any, proxy: Any) -> None:
        used = record.info.get('used', math.inf)
        try:
            # What a server says without having been asked is that it ends the connection.
            if used < math.inf and _has_news(connection):
                raise exc.DisconnectionError
            if used < time.monotonic() - _PING_AFTER:
                engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise exc.DisconnectionError from error

    # In the transaction: PgBouncer does not support parameters of a session.
    @event.listens_for(engine, 'begin')
    def begin(connection: sqlalchemy.Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql(f'{timeouts}; {_DURABLE}' if writes else timeouts)

    # A server that was demoted keeps its connections: the next one may lead to its successor.
    @event.listens_for(engine, 'handle_error')
    def handle_error(context: sqlalchemy.ExceptionContext) -> None:
        if getattr(context.original_exception, 'pgcode', None) == '25006':
            context.is_disconnect = True

    event.listen(engine, 'do_connect', _connect_in_turn)
    return engine


#: That of libpq.
_PORT = '5432'


def _connect_in_turn(dialect: Any, record: Any, args: Any, params: dict[str, Any]) -> Any:
    """Try the hosts one after the other, each with a deadline of its own; an error names them.

    libpq does so itself only where no callback waits. Return None for what is left to it: the
    hosts of a service's file, which nobody else reads, have one deadline.
    """
    of_service = params.get('service') or os.environ.get('PGSERVICE')
    in_environment = {} if of_service else os.environ
    hosts = str(params.get('host') or in_environment.get('PGHOST', '')).split(',')
    if hosts == [''] or params.get('target_session_attrs') == 'prefer-standby':
        return None
    ports = str(params.get('port') or in_environment.get('PGPORT', '')).split(',')
    default = None if of_service else _PORT
    said = []
    for host, port in zip(hosts, ports * len(hosts) if len(ports) == 1 else ports):
        try:
            return dialect.connect(*args, **{**params, 'host': host, 'port': port or default})
        except dialect.loaded_dbapi.OperationalError as error:
            text = str(error).strip()
            said.append(text if host in text else f'{host}: {text}')
    raise dialect.loaded_dbapi.OperationalError('\n'.join(said))


def _has_news(connection: Any) -> bool:
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def _wait(connection: Any) -> None:
    """Wait for Postgres, with a deadline: a server that hangs sends nothing.

    This is psycopg2's example of a wait callback, with a deadline added.
    """
    import psycopg2
    from psycopg2 import extensions

    # libpq's own connect_timeout has no effect if a callback waits.
    connecting = connection.status == extensions.STATUS_SETUP
    # The callback is called for every connection of the process, with options or without.
    options: Options = getattr(connection, 'options', DEFAULT_OPTIONS)
    # If the server is alive, it reports itself that a query takes too long.
    deadline = time.monotonic() + (options.connect_timeout if connecting else options.timeout + 1)
    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        remaining = deadline - time.monotonic()
        # Not select(), which does not take descriptors of 1,024 or more.
        poller = select.poll()
        events = select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
        poller.register(connection.fileno(), events)
        if remaining <= 0 or not poller.poll(remaining * 1000):
            raise psycopg2.OperationalError('timeout expired')


def _sqlite(url: sqlalchemy.URL, options: Options) -> sqlalchemy.Engine:
    engine = sqlalchemy.create_engine(
        url, connect_args={'timeout': options.timeout, 'check_same_thread': False}
    )

    @event.listens_for(engine, 'do_connect')
    def make(dialect: Any, record: Any, args: Any, options: Any) -> None:
        if os.path.isabs(args[0]):  # it is not in memory
            # SQLite makes its journal with the mode of this file, and tells of errors.
            with contextlib.suppress(OSError):
                sharing.make_file(args[0])

    # SQLAlchemy's recipe for transactions that SQLite isolates.
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
