"""When a command of the operators last succeeded."""

from __future__ import annotations

from sqlalchemy import select

from .batching import clock, ensure_repository, upsert
from .schema import last_runs
from .session import Session


def record(session: Session, command: str) -> None:
    """Note that a command has succeeded."""
    owner = ensure_repository(session.connection, session.repository)
    statement = upsert(session.connection, last_runs).values(
        repository_id=owner, command=command, ended=clock(session.connection)
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[last_runs.c.repository_id, last_runs.c.command],
            set_={'ended': statement.excluded.ended},
        )
    )


def last(session: Session) -> dict[str, int]:
    """Return when each command last succeeded, in seconds since the epoch."""
    query = select(last_runs.c.command, last_runs.c.ended).where(
        last_runs.c.repository_id == session.repository_id
    )
    return {row.command: row.ended for row in session.execute(query)}
