"""Delete objects while pushes are running.

A push that finds its object in the store already (a key is its content's digest) does not store
it again, and records it later. So before an object without a row is deleted, it is marked,
under the lock that recording a push takes at its end. A push that records the object later sees
the mark, and stores the object again if it is gone. Marks are kept longer than any push takes.

A store may refuse to delete an object. Its mark says so; it is tried again later, and is in
nobody's way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy
from sqlalchemy import case, delete, select, update

from ..errors import Deletions, Temporary, Vanished
from .schema import bundles, pending_deletions
from .statements import Session, batches, present, upsert

#: Seconds after which a deletion that is not finished was interrupted: no request to a store
#: takes so long.
ABANDONED = 900


def check(session: Session, keys: Collection[str], stored_again: Deletions) -> None:
    """Check that no object of a push is marked for deletion.

    Called last before the commit, with the repository's row locked. Raise `Temporary` if an
    object is being deleted. Raise `Vanished` if some were deleted, or were to be, except by the
    deletions in ``stored_again``, after which they were stored again.
    """
    if not keys:
        return
    of_push = session.mine(pending_deletions), pending_deletions.c.key.in_(sorted(keys))
    is_old = (pending_deletions.c.since < session.clock - ABANDONED).label('is_old')
    found = session.execute(select(pending_deletions, is_old).where(*of_push)).all()
    unfinished = [row for row in found if not (row.deleted or row.refused)]
    if not all(row.is_old for row in unfinished):
        raise Temporary('the store is deleting an object of the same content')
    if unfinished or any(stored_again.get(row.key) != row.since for row in found):
        raise Vanished({row.key: row.since for row in found}, [row.key for row in unfinished])
    session.execute(delete(pending_deletions).where(*of_push, pending_deletions.c.refused))


def mark(session: Session, keys: Sequence[str]) -> list[str]:
    """Mark unreferenced ``keys`` for deletion; return those marked.

    After the commit they may be deleted from the store.
    """
    session.lock()
    free = sorted(set(keys) - present(session, bundles.c.key, keys))
    if free:
        statement = upsert(session.connection, pending_deletions).values(since=session.clock)
        now, before = statement.excluded.since, pending_deletions.c.since
        # A different number for each deletion of an object: see `check`.
        since = case((now > before, now), else_=before + 1)
        marks = {'repository_id': session.owner, 'deleted': False, 'refused': False}
        session.execute(
            statement.on_conflict_do_update(
                index_elements=[pending_deletions.c.repository_id, pending_deletions.c.key],
                set_={'since': since, 'deleted': False, 'refused': False},
            ),
            [{**marks, 'key': key} for key in free],
        )
    return free


def finish(session: Session, keys: Collection[str], refused: Collection[str]) -> None:
    """Record that ``keys`` are no longer in the store, but for those that it ``refused``."""
    _set(session, sorted(set(keys).difference(refused)), deleted=True)
    _set(session, sorted(refused), refused=True)


def _set(session: Session, keys: Sequence[str], **values: bool) -> None:
    for batch in batches(keys):
        session.execute(
            update(pending_deletions)
            .where(session.mine(pending_deletions), pending_deletions.c.key.in_(batch))
            .values(**values)
        )


def pending(session: Session) -> list[str]:
    """Return the keys that are marked but not deleted: their deletion was interrupted."""
    return _unfinished(session, ~pending_deletions.c.refused)


def refused(session: Session) -> list[str]:
    """Return the keys that the store has refused to delete."""
    return _unfinished(session, pending_deletions.c.refused)


def _unfinished(session: Session, condition: sqlalchemy.ColumnElement[bool]) -> list[str]:
    query = select(pending_deletions.c.key).where(
        session.mine(pending_deletions), ~pending_deletions.c.deleted, condition
    )
    return list(session.scalars(query))


def purge(session: Session, age: int) -> None:
    """Delete the marks of objects that were deleted ``age`` seconds ago: no push is that old."""
    session.execute(
        delete(pending_deletions).where(
            session.mine(pending_deletions),
            pending_deletions.c.deleted,
            pending_deletions.c.since < session.clock - age,
        )
    )
