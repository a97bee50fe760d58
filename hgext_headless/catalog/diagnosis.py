"""Find what is wrong with a database that answers."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import cast, func, select
from sqlalchemy.dialects.postgresql import REGCLASS

from . import engine
from .schema import bundles, last_runs, leases, metadata
from .statements import Session, clock, owner_of, upsert


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


def try_writing(session: Session) -> None:
    """Write a row, and undo it. Raise what a push would raise."""
    undone = session.connection.begin_nested()
    session.execute(leases.insert().values(name='headless-doctor', owner='', until=0))
    undone.rollback()


def sequences_behind(session: Session) -> list[str]:
    """Return the tables whose next id is taken, as after a logical replication."""
    if session.connection.dialect.name != 'postgresql':
        return []
    behind = []
    for table in metadata.sorted_tables:
        if 'id' not in table.primary_key.columns:
            continue
        sequence = func.pg_get_serial_sequence(table.name, 'id')
        last = func.coalesce(func.pg_sequence_last_value(cast(sequence, REGCLASS)), 0)
        highest = func.coalesce(func.max(table.c.id), 0)
        if session.scalar(select(highest > last).select_from(table)):
            behind.append(table.name)
    return behind


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


class Run(NamedTuple):
    """When a command last ``ended``, in seconds since the epoch, and how much it ``found``."""

    ended: int
    found: int | None


def record_run(session: Session, command: str, found: int | None = None) -> None:
    """Note that a command has succeeded. ``found`` is the number of things that it left."""
    owner = owner_of(session)
    statement = upsert(session.connection, last_runs).values(
        repository_id=owner, command=command, ended=clock(session.connection), found=found
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[last_runs.c.repository_id, last_runs.c.command],
            set_={'ended': statement.excluded.ended, 'found': statement.excluded.found},
        )
    )


def runs_of_commands(session: Session) -> dict[str, Run]:
    """Return the last run of each command that has succeeded, by command."""
    query = select(last_runs).where(last_runs.c.repository_id == session.repository_id)
    return {row.command: Run(row.ended, row.found) for row in session.execute(query)}
