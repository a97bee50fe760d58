"""The rows of objects of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select

from . import encoding
from .batching import batches
from .schema import LIVE, bundles
from .session import Session


class BundleRow(NamedTuple):
    """A row of `schema.bundles`."""

    id: int
    key: str
    size: int
    sha512: str
    head: bytes
    bases: tuple[bytes, ...]


def with_row(session: Session, keys: Sequence[str]) -> set[str]:
    """Return those of ``keys`` that a bundle's row refers to."""
    found: set[str] = set()
    for batch in batches(keys):
        found.update(
            session.scalars(
                select(bundles.c.key).where(
                    bundles.c.repository_id == session.repository_id,
                    bundles.c.key.in_(batch),
                )
            )
        )
    return found


def without_row(session: Session, keys: Sequence[str]) -> list[str]:
    found = with_row(session, keys)
    return [key for key in keys if key not in found]


def under(session: Session, prefix: str, since: float | None) -> list[BundleRow]:
    """Return the live bundles whose keys begin with ``prefix``, created at ``since`` or later.

    ``since`` is in seconds since the epoch; None is no condition.
    """
    query = select(bundles).where(
        bundles.c.repository_id == session.repository_id,
        # Hexadecimal digits follow the prefix: they sort before "g" in any collation.
        bundles.c.key.between(prefix, prefix + 'g'),
        bundles.c.state == LIVE,
    )
    if since is not None:
        query = query.where(bundles.c.created >= since)
    return [
        BundleRow(
            row.id, row.key, row.size, row.sha512, bytes(row.head), encoding.split_nodes(row.bases)
        )
        for row in session.execute(query)
    ]
