"""Find what is wrong with a database that answers."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select

from . import engine
from .batching import clock
from .schema import bundles, metadata
from .session import Session


class Diagnosis(NamedTuple):
    """``clock`` is the database's time, in seconds since the epoch.

    ``unreadable`` and ``unwritable`` are tables that the role lacks rights on. ``is_durable``
    tells whether a commit survives a crash of the database's machine.
    """

    schema: str | None
    clock: int
    unreadable: list[str]
    unwritable: list[str]
    is_durable: bool


def diagnose(session: Session) -> Diagnosis:
    """Return the state of the database, and the rights of this role."""
    unreadable: list[str] = []
    unwritable: list[str] = []
    is_durable = True
    if session.connection.dialect.name == 'postgresql':
        for name in sorted({*metadata.tables, 'changeset_words'}):
            readable, writable = session.execute(
                select(
                    func.has_table_privilege(name, 'SELECT'),
                    func.has_table_privilege(name, 'INSERT'),
                )
            ).one()
            if not readable:
                unreadable.append(name)
            if not writable:
                unwritable.append(name)
        is_durable = session.scalar(select(func.current_setting('fsync'))) == 'on'
    return Diagnosis(
        engine.schema_revision(session.connection),
        session.scalar(select(clock(session.connection))) or 0,
        unreadable,
        unwritable,
        is_durable,
    )


def may_write(session: Session) -> bool:
    """Return whether the database role may write, as that of an hgweb server may not."""
    if session.connection.dialect.name != 'postgresql':
        return True
    return bool(session.scalar(select(func.has_table_privilege('changesets', 'INSERT'))))


def probe(session: Session) -> tuple[str, int] | None:
    """Return key and size of the newest object, to check the store; None if there is none."""
    query = (
        select(bundles.c.key, bundles.c.size)
        .where(bundles.c.repository_id == session.repository_id)
        .order_by(bundles.c.created.desc())
        .limit(1)
    )
    row = session.execute(query).first()
    return (row.key, row.size) if row else None
