"""A lease on a name: a row that one process at a time has, on any number of servers.

It is not an advisory lock of Postgres: behind PgBouncer's transaction pooling, a session of
Postgres does not belong to one process.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator

import sqlalchemy
from sqlalchemy import delete, select, update

from .. import hgcompat
from ..errors import HeadlessError, Temporary
from .batching import clock, upsert
from .engine import Database, Lock
from .schema import leases

#: Seconds after which the lease of a process that died on another machine is free.
LENGTH = 60


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
            connection.execute(
                delete(leases).where(leases.c.name == name, leases.c.owner == owner)
            )


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
