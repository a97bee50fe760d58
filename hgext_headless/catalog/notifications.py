"""Wake processes that wait for pushes: Postgres's LISTEN and NOTIFY.

They query themselves what is new. A notification may be lost, for example behind PgBouncer's
transaction pooling, and SQLite has none. So waits are short.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Iterator

import sqlalchemy

from .engine import Database, clear_errors
from .session import Session

_CHANNEL = 'hgext_headless'

#: Waits for a notification, at most the given number of seconds.
Wait = Callable[[float], None]


def send(session: Session) -> None:
    """Wake the others once this transaction is committed."""
    if session.connection.dialect.name == 'postgresql':
        session.execute(sqlalchemy.select(sqlalchemy.func.pg_notify(_CHANNEL, session.repository)))


@contextlib.contextmanager
def listening(database: Database) -> Iterator[Wait]:
    """Listen, on a separate connection. Raise `errors.Temporary` if that is lost."""
    with clear_errors(), database.alone() as connection:
        if connection.dialect.name != 'postgresql':
            yield time.sleep
            return
        connection.exec_driver_sql(f'LISTEN {_CHANNEL}')
        driver = connection.connection.dbapi_connection
        assert driver is not None

        def wait(seconds: float) -> None:
            with clear_errors():
                poller = select.poll()
                poller.register(driver.fileno(), select.POLLIN)
                if poller.poll(seconds * 1000):
                    try:
                        driver.poll()
                    except driver.OperationalError as error:
                        raise sqlalchemy.exc.OperationalError('LISTEN', None, error) from error
                    driver.notifies.clear()

        yield wait
