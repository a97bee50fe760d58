"""When a command of the operators last succeeded."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from .batching import clock, owner_of, upsert
from .schema import last_runs
from .session import Session


class Run(NamedTuple):
    """When a command last ``ended``, in seconds since the epoch, and how much it ``found``."""

    ended: int
    found: int | None


def record(session: Session, command: str, found: int | None = None) -> None:
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


def last(session: Session) -> dict[str, Run]:
    """Return the last run of each command that has succeeded, by command."""
    query = select(last_runs).where(last_runs.c.repository_id == session.repository_id)
    return {row.command: Run(row.ended, row.found) for row in session.execute(query)}
