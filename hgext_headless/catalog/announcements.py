"""How far the announcements of pushes have got, for each target.

The outbox is `schema.pushes` itself: a push's row is written in its own transaction, and ids are in
the order of commits, without gaps. So a target needs one number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import func, select

from .coordination import Lock
from .schema import announcements, pushes
from .statements import Session, put


class Cursor(NamedTuple):
    """``push_id`` is the last push that ``target`` was told of, and ``behind`` the number of later
    ones.

    ``failures`` is how often the next push has failed, ``error`` is why, and ``waits`` is the
    number of seconds from now before it is tried again.
    """

    target: str
    push_id: int
    failures: int = 0
    error: str = ''
    waits: int = 0
    behind: int = 0


def cursors(session: Session, last: int) -> dict[str, Cursor]:
    """Return the cursors of all targets that were ever announced to; ``last`` is the last push."""
    table = announcements.c
    later = pushes.c.push_id > table.push_id, pushes.c.push_id <= last
    behind = select(func.count()).where(session.mine(pushes), *later).scalar_subquery()
    waits = table.retry - session.clock
    query = select(table.target, table.push_id, table.failures, table.error, waits, behind)
    found = session.execute(query.where(session.mine(announcements)))
    return {target: Cursor(target, *others) for target, *others in found}


def begin(session: Session, target: str, push_id: int) -> None:
    """Let a target be told of pushes after ``push_id``, whatever it was told of."""
    _write(session, Cursor(target, push_id))


def delivered(session: Session, lock: Lock, target: str, push_id: int) -> None:
    """Note that a target was told of all pushes up to ``push_id``.

    ``lock`` is the lease of who told it; raise `Temporary`, and write nothing, if another process
    has it by now.
    """
    lock(session.connection)
    _write(session, Cursor(target, push_id), announcements.c.push_id < push_id)


def failed(session: Session, lock: Lock, cursor: Cursor, error: str, pause: int) -> None:
    """Note that the push after a cursor could not be delivered: wait ``pause`` seconds.

    ``lock`` is that of `delivered`.
    """
    lock(session.connection)
    cursor = cursor._replace(failures=cursor.failures + 1, error=error)
    is_next = announcements.c.push_id == cursor.push_id
    _write(session, cursor, is_next, retry=session.clock + pause)


def _write(session: Session, cursor: Cursor, where: Any = None, retry: Any = 0) -> None:
    row = {
        'repository_id': session.owner,
        'target': cursor.target,
        'push_id': cursor.push_id,
        'failures': cursor.failures,
        'error': cursor.error,
    }
    put(session, announcements, [row], where, retry=retry)
