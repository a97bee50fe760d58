"""The health of a database that answers: its rights and sequences, and when commands ran last."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sqlalchemy import BigInteger, cast, column, func, select
from sqlalchemy.dialects.postgresql import REGCLASS

from .schema import bundles, last_runs, leases, metadata
from .statements import Session, put


def is_durable(session: Session) -> bool:
    """Return whether a commit survives a crash of the database's machine."""
    return not session.is_postgres or session.scalar(select(func.current_setting('fsync'))) == 'on'


def identity(session: Session) -> str | None:
    """Return the cluster and the name of this database, which a dump does not take along.

    None on SQLite.
    """
    if not session.is_postgres:
        return None
    asked = select(column('system_identifier', BigInteger), func.current_database())
    row = session.execute(asked.select_from(func.pg_control_system())).one()
    return f'{row[0]}-{quote(row[1], safe="")}'


def lacking(session: Session, right: str) -> list[str]:
    """Return the tables on which this role lacks a right."""
    if not session.is_postgres:
        return []
    names = sorted({*metadata.tables, 'changeset_words'})
    rights = session.execute(select(*(func.has_table_privilege(name, right) for name in names)))
    return [name for name, is_granted in zip(names, rights.one()) if not is_granted]


def try_writing(session: Session) -> None:
    """Write a row, and undo it. Raise what a push would raise."""
    undone = session.connection.begin_nested()
    session.execute(leases.insert().values(name='headless-doctor', owner='', until=0))
    undone.rollback()


def sequences_behind(session: Session) -> list[str]:
    """Return the tables whose next id is taken, as after a logical replication."""
    behind = []
    for table in metadata.sorted_tables if session.is_postgres else ():
        if 'id' in table.primary_key.columns:
            sequence = func.pg_get_serial_sequence(table.name, 'id')
            last = func.coalesce(func.pg_sequence_last_value(cast(sequence, REGCLASS)), 0)
            highest = func.coalesce(func.max(table.c.id), 0)
            if session.scalar(select(highest > last).select_from(table)):
                behind.append(table.name)
    return behind


def may_write(session: Session) -> bool:
    """Return whether the database role may write, as that of an hgweb server may not."""
    return 'changesets' not in lacking(session, 'INSERT')


def probe(session: Session) -> tuple[str, int] | None:
    """Return key and size of the newest object, to check the store; None if there is none."""
    query = (
        select(bundles.c.key, bundles.c.size)
        .where(session.mine(bundles))
        .order_by(bundles.c.created.desc())
        .limit(1)
    )
    row = session.execute(query).first()
    return (row.key, row.size) if row else None


def record_run(session: Session, command: str, found: int | None = None) -> None:
    """Note that a command has succeeded. ``found`` is the number of things that it left."""
    row = {'repository_id': session.owner, 'command': command, 'found': found}
    put(session, last_runs, [row], ended=session.clock)


def runs_of_commands(session: Session) -> dict[str, Any]:
    """Return the rows of `schema.last_runs`, by command."""
    query = select(last_runs).where(session.mine(last_runs))
    return {row.command: row for row in session.execute(query)}
