"""The rows of objects of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import func, select

from ..model import Bundle
from .schema import LIVE, bundles
from .statements import Session, insert_new, present, rows, split_nodes


def bundle(row: Any, nodes: Sequence[bytes] = ()) -> Bundle:
    """Return the bundle of a row of `schema.bundles`, which has the changesets ``nodes``."""
    bases = split_nodes(row.bases)
    return Bundle(row.key, row.size, row.sha512, row.head, bases, tuple(nodes))


def write(session: Session, written: Sequence[Bundle], state: str = LIVE) -> dict[str, int]:
    """Write the rows of bundles, unless they are there; return their ids by key."""
    new = [
        {
            'repository_id': session.owner,
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
    insert_new(session, bundles, new, created=session.clock)
    query = select(bundles.c.key, bundles.c.id).where(session.mine(bundles))
    keys = [each.key for each in written]
    return {row.key: row.id for row in rows(session, query, bundles.c.key, keys)}


def with_row(session: Session, keys: Iterable[str]) -> set[str]:
    """Return those of ``keys`` that a bundle's row refers to."""
    return present(session, bundles.c.key, keys)


def under(session: Session, prefix: str, since: float | None) -> list[Bundle]:
    """Return the live bundles whose keys begin with ``prefix``, created at ``since`` or later.

    ``since`` is in seconds since the epoch; None does not restrict it.
    """
    # Hexadecimal digits follow the prefix: they sort before "g" in any collation.
    within = bundles.c.key.between(prefix, prefix + 'g')
    query = select(bundles).where(*live(session, since), within)
    return [bundle(row) for row in session.execute(query)]


def count(session: Session, since: float | None) -> int:
    """Return how many live bundles were created at ``since`` or later: see `under`."""
    return session.scalar(select(func.count()).where(*live(session, since))) or 0


def live(session: Session, since: float | None = None) -> list[sqlalchemy.ColumnElement[bool]]:
    """Return the conditions that a bundle is live, and was created at ``since`` or later."""
    conditions = [session.mine(bundles), bundles.c.state == LIVE]
    if since is not None:
        conditions.append(bundles.c.created >= since)
    return conditions
