"""Deleting objects beside running pushes.

A push that finds its object in the store already (a key is its content's digest) does
not store it again, and records it later. So an object without a row is doomed first,
under the lock that recording a push ends with: a push that records it afterwards sees
that, and stores it again if it is gone. Doomed rows outlive any push.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy
from sqlalchemy import case, delete, select, update

from ..model import Deletions, Temporary, Vanished
from .batching import batches, lock, upsert
from .reads import repository_id
from .schema import bundles, doomed


def check(
    connection: sqlalchemy.Connection,
    repository_id: int,
    keys: Collection[str],
    stored_again: Deletions,
) -> None:
    """That no object of a push is doomed: the last thing before the commit, with the
    repository's row locked.

    Raises `Temporary` where one is being deleted, and `Vanished` where some have been,
    but for the deletions in ``stored_again``, after which they were stored once more.
    """
    if not keys:
        return
    mine = (doomed.c.repository_id == repository_id) & doomed.c.key.in_(sorted(keys))
    found = list(connection.execute(select(doomed).where(mine)))
    if not all(row.deleted for row in found):
        raise Temporary('the store is deleting an object of the same content')
    if any(stored_again.get(row.key) != row.since for row in found):
        raise Vanished({row.key: row.since for row in found})


def doom(
    connection: sqlalchemy.Connection, repository: str, keys: Sequence[str], now: int
) -> list[str]:
    """Those of some objects that nothing points at; from the commit on they may be
    deleted from the store."""
    owner = connection.scalar(select(repository_id(repository)))
    if owner is None:
        return []
    lock(connection, owner)
    free: list[str] = []
    for batch in batches(sorted(set(keys))):
        held = set(
            connection.scalars(
                select(bundles.c.key).where(
                    bundles.c.repository_id == owner, bundles.c.key.in_(batch)
                )
            )
        )
        free += [key for key in batch if key not in held]
    if free:
        statement = upsert(connection, doomed)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[doomed.c.repository_id, doomed.c.key],
                set_={
                    # A number of its own for each deletion of an object: see `check`.
                    'since': case(
                        (statement.excluded.since > doomed.c.since, statement.excluded.since),
                        else_=doomed.c.since + 1,
                    ),
                    'deleted': False,
                },
            ),
            [{'repository_id': owner, 'key': key, 'since': now, 'deleted': False} for key in free],
        )
    return free


def deleted(connection: sqlalchemy.Connection, repository: str, keys: Sequence[str]) -> None:
    """Note that objects are no longer in the store."""
    for batch in batches(keys):
        connection.execute(
            update(doomed)
            .where(
                doomed.c.repository_id == repository_id(repository), doomed.c.key.in_(batch)
            )
            .values(deleted=True)
        )


def unfinished(connection: sqlalchemy.Connection, repository: str) -> list[str]:
    """Doomed objects whose deletion was interrupted."""
    query = select(doomed.c.key).where(
        doomed.c.repository_id == repository_id(repository), ~doomed.c.deleted
    )
    return list(connection.scalars(query))


def purge(connection: sqlalchemy.Connection, repository: str, before: int) -> None:
    """Drop the rows of objects that were deleted before then: no push is that old."""
    connection.execute(
        delete(doomed).where(
            doomed.c.repository_id == repository_id(repository),
            doomed.c.deleted,
            doomed.c.since < before,
        )
    )
