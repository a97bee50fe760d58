"""The rows of objects of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import select

from ..model import Bundle
from . import statements
from .schema import LIVE, bundles
from .statements import Session, batches, clock, insert_new, present


def bundle(row: Any, nodes: Sequence[bytes] = ()) -> Bundle:
    """Return the bundle of a row of `schema.bundles`, which has the changesets ``nodes``."""
    bases = statements.split_nodes(row.bases)
    return Bundle(row.key, row.size, row.sha512, row.head, bases, tuple(nodes))


def write(
    connection: sqlalchemy.Connection,
    repository_id: int,
    written: Sequence[Bundle],
    state: str = LIVE,
) -> dict[str, int]:
    """Write the rows of bundles, unless they are there; return their ids by key."""
    rows = [
        {
            'repository_id': repository_id,
            'key': each.key,
            'size': each.size,
            'sha512': each.sha512,
            'head': each.head,
            'bases': b''.join(each.bases),
            'state': state,
        }
        # In the order of keys, so that pushes of the same bundles do not deadlock.
        for each in sorted(written, key=lambda each: each.key)
    ]
    insert_new(connection, bundles, rows, created=clock(connection))
    ids: dict[str, int] = {}
    for batch in batches([each.key for each in written]):
        query = select(bundles.c.key, bundles.c.id).where(
            bundles.c.repository_id == repository_id, bundles.c.key.in_(batch)
        )
        ids.update((row.key, row.id) for row in connection.execute(query))
    return ids


def with_row(session: Session, keys: Iterable[str]) -> set[str]:
    """Return those of ``keys`` that a bundle's row refers to."""
    return present(session, bundles.c.key, keys)


def under(session: Session, prefix: str, since: float | None) -> list[Bundle]:
    """Return the live bundles whose keys begin with ``prefix``, created at ``since`` or later.

    ``since`` is in seconds since the epoch; None does not restrict it.
    """
    # Hexadecimal digits follow the prefix: they sort before "g" in any collation.
    query = select(bundles).where(
        *_live(session, since), bundles.c.key.between(prefix, prefix + 'g')
    )
    return [bundle(row) for row in session.execute(query)]


def count(session: Session, since: float | None) -> int:
    """Return how many live bundles were created at ``since`` or later: see `under`."""
    counted = select(sqlalchemy.func.count()).select_from(bundles)
    return session.execute(counted.where(*_live(session, since))).scalar_one()


def _live(session: Session, since: float | None) -> list[sqlalchemy.ColumnElement[bool]]:
    conditions = [bundles.c.repository_id == session.repository_id, bundles.c.state == LIVE]
    if since is not None:
        conditions.append(bundles.c.created >= since)
    return conditions
