"""How processes on any number of servers agree: a lease on a name, and notifications.

A lease is a row that one process at a time has. It is not an advisory lock of Postgres: behind
PgBouncer's transaction pooling, a session of Postgres does not belong to one process.
Notifications only wake: one may be lost, so whoever waits looks from time to time anyway.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from select import POLLIN, poll
from typing import Protocol

import sqlalchemy
from sqlalchemy import delete, func, select, update

from .. import hgcompat
from ..errors import HeadlessError, Temporary
from .engine import Database, clear_errors
from .schema import leases
from .statements import Session, clock, upsert

#: Seconds after which the lease of a process that died on another machine is free.
LENGTH = 60


class Lock(Protocol):
    """The lock holder calls it before a step that needs the lock. Raises `Temporary` if it is lost.

    With a connection, the lock cannot be lost until the transaction of this ends.
    """

    def __call__(self, connection: sqlalchemy.Connection | None = None) -> None: ...


@contextlib.contextmanager
def exclusive(database: Database, name: str) -> Iterator[Lock | None]:
    """Yield a lease on ``name`` that is renewed until the end; None if another process has it.

    Call what is yielded to renew the lease. It raises `Temporary` if the lease is lost.
    """
    process = hgcompat.process()
    owner = f'{process} {secrets.token_hex(4)}'
    with database.writing() as connection:
        taken = _take(connection, name, owner)
    if not taken:
        yield None
        return

    def renew(connection: sqlalchemy.Connection | None = None) -> None:
        mine = (leases.c.name == name) & (leases.c.owner == owner)
        with contextlib.ExitStack() as stack:
            connection = connection or stack.enter_context(database.writing())
            until = clock(connection) + LENGTH
            if not connection.execute(update(leases).where(mine).values(until=until)).rowcount:
                raise Temporary(f'another process has taken over what this one did ({name})')

    ended = threading.Event()
    thread = threading.Thread(target=_keep, args=(renew, ended), daemon=True)
    thread.start()
    try:
        yield renew
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(HeadlessError), database.writing() as connection:
            connection.execute(delete(leases).where(leases.c.name == name, leases.c.owner == owner))


def _keep(renew: Lock, ended: threading.Event) -> None:
    while not ended.wait(LENGTH / 4):
        with contextlib.suppress(HeadlessError):  # the lease holder is told when it renews it
            renew()


def _take(connection: sqlalchemy.Connection, name: str, owner: str) -> bool:
    held = connection.scalar(select(leases.c.owner).where(leases.c.name == name))
    dead = held if held and hgcompat.is_dead(held.partition(' ')[0]) else ''
    now = clock(connection)
    statement = upsert(connection, leases).values(name=name, owner=owner, until=now + LENGTH)
    statement = statement.on_conflict_do_update(
        index_elements=[leases.c.name],
        set_={'owner': statement.excluded.owner, 'until': statement.excluded.until},
        where=(leases.c.until < now) | (leases.c.owner == dead),
    )
    return connection.execute(statement.returning(leases.c.name)).first() is not None


_CHANNEL = 'hgext_headless'

#: Waits for a notification, at most the given number of seconds.
Wait = Callable[[float], None]


def send(session: Session) -> None:
    """Wake the others once this transaction is committed."""
    if session.is_postgres:
        session.execute(select(func.pg_notify(_CHANNEL, session.repository)))


@contextlib.contextmanager
def listening(database: Database) -> Iterator[Wait]:
    """Listen, on a separate connection. Raise `errors.Temporary` if that is lost."""
    with clear_errors(database.where), database.alone() as connection:
        if connection.dialect.name != 'postgresql':
            yield time.sleep
            return
        connection.exec_driver_sql(f'LISTEN {_CHANNEL}')
        driver = connection.connection.dbapi_connection
        assert driver is not None

        def wait(seconds: float) -> None:
            with clear_errors(database.where):
                poller = poll()
                poller.register(driver.fileno(), POLLIN)
                if poller.poll(seconds * 1000):
                    try:
                        driver.poll()
                    except driver.OperationalError as error:
                        raise sqlalchemy.exc.OperationalError('LISTEN', None, error) from error
                    driver.notifies.clear()

        yield wait
