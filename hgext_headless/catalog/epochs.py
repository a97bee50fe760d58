"""A repository in the database, from its first row to the last, and the epochs of its push ids.

A push id that somebody keeps outlives a database that is lost, or restored from before the push. So
push ids belong to an epoch, which is a random value, and a new epoch begins above all ids that
anybody can have seen.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from sqlalchemy import case, delete, func, insert, select, tuple_, update

from .schema import (
    bundle_changesets,
    bundles,
    epochs,
    metadata,
    pending_deletions,
    repositories,
)
from .statements import Session

#: The first id of an epoch follows a multiple of this; so people see which epoch an id is of.
_WHOLE = 1_000_000
#: Number of ids above the last known one that may have been given and lost.
_LOST = 100_000
#: Number of rows that are deleted in one transaction.
_ROWS = 2000


class Epoch(NamedTuple):
    """An epoch of push ids: see `schema.epochs`. ``name`` is random."""

    name: str
    first_push_id: int
    known_push_id: int
    began: int


_COLUMNS = epochs.c.epoch, epochs.c.first_push_id, epochs.c.known_push_id, epochs.c.began


def current(session: Session) -> Epoch | None:
    """Return the epoch of a repository; None if it has no row."""
    return next(iter(every(session)), None)


def every(session: Session) -> list[Epoch]:
    """Return all epochs of a repository, the current one first."""
    query = select(*_COLUMNS).where(session.mine(epochs)).order_by(epochs.c.first_push_id.desc())
    return [Epoch(*row) for row in session.execute(query)]


def make(session: Session) -> bool:
    """Make the repository's row, with its first epoch; return False if there is one.

    The name of a repository that was dropped gets an epoch above that of the dropped one.
    """
    known = repositories.c.name == session.repository
    found = session.execute(select(repositories).where(known)).first()
    if found is None:
        session.execute(insert(repositories).values(name=session.repository))
        _begin(session, 0, 1)
    elif found.dropped is None:
        return False
    else:
        session.execute(update(repositories).where(known).values(dropped=None))
        begin(session)
    return True


def begin(session: Session, seen: int = 0) -> Epoch:
    """Begin an epoch above the last push id, and above ``seen``, which may be lost; return it."""
    session.lock()
    query = select(repositories.c.last_push_id).where(repositories.c.id == session.owner)
    last = session.execute(query).scalar_one()
    before = current(session)
    lowest = max(last, seen, before.first_push_id if before else 0) + _LOST
    return _begin(session, last, -(-lowest // _WHOLE) * _WHOLE + 1)


def _begin(session: Session, known: int, first: int) -> Epoch:
    statement = insert(epochs).values(
        repository_id=session.owner,
        first_push_id=first,
        epoch=secrets.token_hex(16),
        known_push_id=known,
        began=session.clock,
    )
    return Epoch(*session.execute(statement.returning(*_COLUMNS)).one())


def next_push_id() -> Any:
    """Return an expression in a row of `schema.repositories`: the id of its next push."""
    first = (
        select(func.max(epochs.c.first_push_id))
        .where(epochs.c.repository_id == repositories.c.id)
        .scalar_subquery()
    )
    following = repositories.c.last_push_id + 1
    return case((following < first, first), else_=following)


def drop_rows(session: Session) -> int:
    """Delete some of the repository's rows, not its own; return their number, 0 at the end."""
    of_bundles = select(bundles.c.id).where(session.mine(bundles))
    owned: dict[Any, Any] = {bundle_changesets: bundle_changesets.c.bundle_id.in_(of_bundles)}
    for table in reversed(metadata.sorted_tables):  # those that others refer to are the last
        if 'repository_id' in table.c and table is not pending_deletions:
            owned[table] = session.mine(table)
    for table, condition in owned.items():
        key = table.primary_key.columns
        some = select(*key).where(condition).limit(_ROWS)
        number = session.execute(delete(table).where(tuple_(*key).in_(some))).rowcount
        if number:
            return number
    return 0


def drop(session: Session) -> None:
    """Delete the repository's own row and its marks for deletion, after all other rows.

    The name stays known, with the last push id that it has had: see `make`.
    """
    last = session.scalar(
        delete(repositories)
        .where(repositories.c.id == session.owner)
        .returning(repositories.c.last_push_id)
    )
    session.execute(
        insert(repositories).values(
            name=session.repository, last_push_id=last, dropped=session.clock
        )
    )
