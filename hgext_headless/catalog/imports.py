"""Record drafts that no push brought: those of an older repository."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy
from sqlalchemy import delete, func, insert, select

from ..errors import Deletions
from ..model import Bundle, Changeset, Marker
from . import bans, deletions, encoding, markers, record
from .batching import batches, clock, insert_new, lock, owner_of
from .schema import (
    LIVE,
    bookmarks,
    bundle_changesets,
    bundles,
    changesets,
    push_changesets,
    tombstones,
)
from .session import Session

T = TypeVar('T', bytes, str)


@dataclass(frozen=True)
class Contents:
    """The contents of a bundle, with the number of its changesets instead of their nodes."""

    head: bytes
    bases: tuple[bytes, ...]
    changesets: int


@dataclass(frozen=True)
class Imported:
    """The numbers of bundles and changesets that were new.

    ``size`` is that of the new bundles, in bytes.
    """

    bundles: int
    changesets: int
    size: int

    def __add__(self, other: Imported) -> Imported:
        return Imported(
            self.bundles + other.bundles,
            self.changesets + other.changesets,
            self.size + other.size,
        )


def stored(session: Session, heads: Collection[bytes]) -> set[Contents]:
    """Return the contents of the live bundles of ``heads``."""
    found: set[Contents] = set()
    for batch in batches(sorted(heads)):
        query = (
            select(bundles.c.head, bundles.c.bases, func.count().label('changesets'))
            .join(bundle_changesets, bundle_changesets.c.bundle_id == bundles.c.id)
            .where(
                bundles.c.repository_id == session.repository_id,
                bundles.c.head.in_(batch),
                bundles.c.state == LIVE,
            )
            .group_by(bundles.c.id)
        )
        found.update(
            Contents(bytes(row.head), encoding.split_nodes(row.bases), row.changesets)
            for row in session.execute(query)
        )
    return found


def add(
    session: Session,
    brought: Sequence[Changeset],
    stored: Sequence[Bundle],
    marks: Sequence[Marker],
    stored_again: Deletions,
) -> Imported:
    """Write bundles and their changesets, which belong to no push.

    Changesets that were gone are listed again by the push that brought them last. Existing rows
    are not changed. Raise what `record.record` raises.
    """
    owner = owner_of(session)
    nodes = {c.node for c in brought}
    old_nodes = _present(session.connection, owner, changesets.c.node, nodes)
    keys = {bundle.key: bundle for bundle in stored}
    old_keys = _present(session.connection, owner, bundles.c.key, keys)
    ids = record.changeset_ids(session.connection, owner, brought, stored)
    record.record_bundles(session.connection, owner, stored, ids)
    markers.record(session.connection, owner, marks)
    _revive(session.connection, owner, ids)
    lock(session.connection, owner)
    bans.refuse(session, nodes)
    deletions.check(session.connection, owner, list(keys), stored_again)
    new = [bundle for key, bundle in keys.items() if key not in old_keys]
    return Imported(len(new), len(nodes - old_nodes), sum(bundle.size for bundle in new))


def revive(session: Session, changeset: Changeset) -> bool:
    """Turn a tombstone back into a changeset that is public; return whether it is one now."""
    owner = owner_of(session)
    lock(session.connection, owner)
    if bans.among(session, [changeset.node]):
        return False
    ids = record.changeset_ids(session.connection, owner, [changeset], [])
    _revive(session.connection, owner, ids)
    return True


def _revive(connection: sqlalchemy.Connection, owner: int, ids: Mapping[bytes, int]) -> None:
    """Turn tombstones of ``ids`` back into changesets of the pushes that brought them last."""
    for batch in batches(sorted(ids)):
        brought = set(
            connection.scalars(
                select(push_changesets.c.changeset_id).where(
                    push_changesets.c.changeset_id.in_([ids[node] for node in batch])
                )
            )
        )
        query = select(tombstones).where(
            tombstones.c.repository_id == owner, tombstones.c.node.in_(batch)
        )
        places = {
            bytes(row.node): row
            for row in connection.execute(query.order_by(tombstones.c.push_id))
            if ids[bytes(row.node)] not in brought
        }
        for node, row in places.items():
            place = {'repository_id': owner, 'push_id': row.push_id, 'position': row.position}
            connection.execute(
                delete(tombstones).where(*(tombstones.c[n] == v for n, v in place.items()))
            )
            connection.execute(
                insert(push_changesets).values(**place, changeset_id=ids[node])
            )


def _present(
    connection: sqlalchemy.Connection,
    owner: int,
    column: sqlalchemy.Column[T],
    values: Collection[T],
) -> set[T]:
    """Return those of ``values`` that ``column`` has already."""
    found: set[T] = set()
    for batch in batches(sorted(values)):
        query = select(column).where(
            column.table.c.repository_id == owner, column.in_(batch)
        )
        found.update(connection.scalars(query))
    return found


def record_bookmarks(session: Session, marks: Mapping[bytes, bytes]) -> list[bytes]:
    """Write bookmarks of drafts; return the names of those that are elsewhere.

    A bookmark that is there already stays where it is, because a push may have moved it.
    """
    owner = owner_of(session)
    rows = [
        {'repository_id': owner, 'name': name, 'node': node}
        for name, node in sorted(marks.items())
    ]
    elsewhere: list[bytes] = []
    for batch in batches(rows):
        insert_new(
            session.connection, bookmarks, batch, updated=clock(session.connection)
        )
        query = select(bookmarks.c.name, bookmarks.c.node).where(
            bookmarks.c.repository_id == owner,
            bookmarks.c.name.in_([row['name'] for row in batch]),
        )
        elsewhere += [
            bytes(row.name)
            for row in session.execute(query)
            if bytes(row.node) != marks[bytes(row.name)]
        ]
    return elsewhere
