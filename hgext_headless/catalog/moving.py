"""Record drafts that no push brought: those of an older repository."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import case, delete, func, insert, select, update

from ..errors import Deletions
from ..model import Bundle, Changeset, Conflict, Marker, PushNodes
from . import (
    bans,
    bookmarks as catalog_bookmarks,
    bundle_rows,
    deletions,
    markers,
    pushlog,
    record,
    statements,
)
from .record import changeset_ids
from .schema import (
    LIVE,
    bookmarks,
    bundle_changesets,
    bundles,
    changesets,
    push_branches,
    push_changesets,
    pushes,
    repositories,
    tombstones,
)
from .statements import Session, batches, clock, insert_new, lock, owner_of, present, rows


@dataclass(frozen=True)
class Contents:
    """The contents of a bundle, with the number of its changesets instead of their nodes."""

    head: bytes
    bases: tuple[bytes, ...]
    changesets: int


def stored(session: Session, heads: Collection[bytes]) -> set[Contents]:
    """Return the contents of the live bundles of ``heads``."""
    live = (bundles.c.repository_id == session.repository_id) & (bundles.c.state == LIVE)
    counted = (
        select(bundles.c.head, bundles.c.bases, func.count().label('changesets'))
        .join(bundle_changesets, bundle_changesets.c.bundle_id == bundles.c.id)
        .group_by(bundles.c.id)
    )
    found = rows(session, heads, lambda batch: counted.where(live, bundles.c.head.in_(batch)))
    return {Contents(row.head, statements.split_nodes(row.bases), row.changesets) for row in found}


def add(
    session: Session,
    brought: Sequence[Changeset],
    stored: Sequence[Bundle],
    marks: Sequence[Marker],
    stored_again: Deletions,
) -> Counter[str]:
    """Write bundles and their changesets, which belong to no push.

    Return the numbers of ``bundles`` and ``changesets`` that were new, and the ``size`` of the
    former in bytes.

    Changesets that were gone are listed again by the push that brought them last. Existing rows
    are not changed. Raise what `record.record` raises.
    """
    owner = owner_of(session)
    nodes = {c.node for c in brought}
    old_nodes = present(session, changesets.c.node, nodes)
    keys = {bundle.key: bundle for bundle in stored}
    old_keys = present(session, bundles.c.key, keys)
    ids = record.changeset_ids(session.connection, owner, brought, stored)
    record.record_bundles(session.connection, owner, stored, ids)
    markers.record(session.connection, owner, marks)
    _revive(session.connection, owner, ids)
    lock(session.connection, owner)
    bans.refuse(session, nodes)
    deletions.check(session.connection, owner, list(keys), stored_again)
    new = [bundle for key, bundle in keys.items() if key not in old_keys]
    return Counter(
        bundles=len(new), changesets=len(nodes - old_nodes), size=sum(each.size for each in new)
    )


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
            row.node: row
            for row in connection.execute(query.order_by(tombstones.c.push_id))
            if ids[row.node] not in brought
        }
        for node, row in places.items():
            place = {'repository_id': owner, 'push_id': row.push_id, 'position': row.position}
            connection.execute(
                delete(tombstones).where(*(tombstones.c[n] == v for n, v in place.items()))
            )
            connection.execute(insert(push_changesets).values(**place, changeset_id=ids[node]))


def record_bookmarks(session: Session, marks: Mapping[bytes, bytes]) -> list[bytes]:
    """Write bookmarks of drafts; return the names of those that are elsewhere.

    A bookmark that is there already stays where it is, because a push may have moved it.
    """
    owner = owner_of(session)
    fresh = [
        {'repository_id': owner, 'name': name, 'node': node} for name, node in sorted(marks.items())
    ]
    for batch in batches(fresh):
        insert_new(session.connection, bookmarks, batch, updated=clock(session.connection))
    found = catalog_bookmarks.places(session, marks)
    return [name for name, node in sorted(found.items()) if node != marks[name]]


#: The parent of a changeset of which only the node is known.
_UNKNOWN = bytes(20)

Facts = Callable[[bytes], 'Changeset | None']


@dataclass(frozen=True)
class Compared:
    """The result of comparing pushes with those that are recorded.

    ``there`` is the number of those that are recorded, and equal.
    """

    new: list[PushNodes]
    there: int
    conflicts: list[Conflict]


def _reserve(session: Session, last: int) -> None:
    """Reserve the ids up to ``last`` for an older pushlog.

    The next push gets a higher id, and is not shown before `finish`, so that clients that poll
    do not skip pushes that are imported later.
    """
    imported, newest = repositories.c.imported_push_id, repositories.c.last_push_id
    session.execute(
        update(repositories)
        .where(repositories.c.id == owner_of(session))
        .values(
            importing_push_id=case((imported < last, last), else_=0),
            last_push_id=case((newest < last, last), else_=newest),
        )
    )


def finish(session: Session) -> None:
    """End an import: show later pushes again, and record the number of imported pushes."""
    importing = repositories.c.importing_push_id
    recorded = select(func.count()).where(
        pushes.c.repository_id == repositories.c.id, pushes.c.push_id <= importing
    )
    session.execute(
        update(repositories)
        .where(repositories.c.id == session.repository_id, importing > 0)
        .values(
            importing_push_id=0,
            imported_push_id=importing,
            imported_pushes=recorded.scalar_subquery(),
        )
    )


def compare(session: Session, older: Sequence[PushNodes]) -> Compared:
    """Compare pushes of an older pushlog with those that are recorded.

    A changeset may have only one push that brought it.
    """
    recorded = {
        push.push_id: push for push in pushlog.past_pushes(session, [p.push_id for p in older])
    }
    nodes = [node for p in older if p.push_id not in recorded for node in p.nodes]
    owners = pushlog.tombstoned(session, nodes)
    brought = pushlog.brought(session, nodes, with_ends=False)
    owners.update((node, found.entry.push_id) for node, found in brought.items())
    new: list[PushNodes] = []
    conflicts: list[Conflict] = []
    for push in older:
        if push.push_id in recorded:
            if push != recorded[push.push_id]:
                conflicts.append(Conflict(push, recorded[push.push_id]))
            continue
        taken = next((node for node in push.nodes if node in owners), None)
        twice = next((node for node, count in Counter(push.nodes).items() if count > 1), None)
        if taken is not None:
            conflicts.append(Conflict(push, node=taken, owner=owners[taken]))
        elif twice is not None:
            conflicts.append(Conflict(push, node=twice, owner=push.push_id))
        else:
            new.append(push)
            owners.update(dict.fromkeys(push.nodes, push.push_id))
    return Compared(new, len(older) - len(new) - len(conflicts), conflicts)


def unknown(session: Session, older: Iterable[PushNodes], facts: Facts) -> int:
    """Return the number of changesets of ``older`` of which only the node would be known."""
    missing = 0
    for portion in batches([node for push in older for node in push.nodes]):
        there = _rows(session, portion)
        missing += sum(node not in there and facts(node) is None for node in portion)
    return missing


def record_pushes(
    session: Session,
    older: Sequence[PushNodes],
    last: int,
    facts: Facts,
) -> tuple[Compared, int]:
    """Record those of ``older`` that are new, from a pushlog that ends with the id ``last``.

    ``facts`` returns a changeset that the catalog does not know, or None. Return the result of
    `compare`, and the number of changesets that became tombstones.
    """
    compared = compare(session, older)
    if not compared.new:
        return compared, 0
    _reserve(session, last)
    owner = owner_of(session)
    session.execute(
        pushes.insert(),
        [
            {
                'repository_id': owner,
                'push_id': p.push_id,
                'user': p.user,
                'date': p.date,
                'listed': len(p.nodes),
            }
            for p in compared.new
        ],
    )
    gone = 0
    branches: set[tuple[int, bytes]] = set()
    places = [
        (push.push_id, position, node)
        for push in compared.new
        for position, node in enumerate(push.nodes)
    ]
    for portion in batches(places):
        known = _known(session, owner, [node for *_place, node in portion], facts)
        listed: list[dict[str, Any]] = []
        tombstoned: list[dict[str, Any]] = []
        for push_id, position, node in portion:
            row = {'repository_id': owner, 'push_id': push_id, 'position': position}
            if node in known:
                changeset_id, branch = known[node]
                listed.append({**row, 'changeset_id': changeset_id})
                branches.add((push_id, branch))
            else:
                tombstoned.append({**row, 'node': node, 'p1': _UNKNOWN, 'p2': _UNKNOWN})
        if listed:
            session.execute(push_changesets.insert(), listed)
        if tombstoned:
            session.execute(tombstones.insert(), tombstoned)
        gone += len(tombstoned)
    for batch in batches(sorted(branches)):
        session.execute(
            push_branches.insert(),
            [{'repository_id': owner, 'push_id': i, 'branch': branch} for i, branch in batch],
        )
    return compared, gone


def _known(
    session: Session,
    owner: int,
    nodes: Sequence[bytes],
    facts: Facts,
) -> dict[bytes, tuple[int, bytes]]:
    """Return the id and branch of those of ``nodes`` of which more than the node is known.

    Insert those that have no row.
    """
    found = _rows(session, nodes)
    fresh = [c for c in (facts(node) for node in nodes if node not in found) if c is not None]
    ids = changeset_ids(session.connection, owner, fresh, ())
    found.update((c.node, (ids[c.node], c.branch)) for c in fresh)
    return found


def _rows(session: Session, nodes: Sequence[bytes]) -> dict[bytes, tuple[int, bytes]]:
    query = select(changesets.c.node, changesets.c.id, changesets.c.branch).where(
        changesets.c.repository_id == session.repository_id, changesets.c.node.in_(nodes)
    )
    return {row.node: (row.id, row.branch) for row in session.execute(query)}


def _newest(session: Session) -> sqlalchemy.ColumnElement[bool]:
    """Return the condition that a bundle is the newest live one with its head."""
    newer = bundles.alias('newer')
    return (
        (bundles.c.repository_id == session.repository_id)
        & (bundles.c.state == LIVE)
        & ~(
            select(newer.c.id)
            .where(
                newer.c.repository_id == bundles.c.repository_id,
                newer.c.head == bundles.c.head,
                newer.c.state == LIVE,
                newer.c.id > bundles.c.id,
            )
            .exists()
        )
    )


def bundle_count(session: Session) -> int:
    """Return the total number of bundles that `bundles_after` returns."""
    return session.scalar(select(func.count()).where(_newest(session))) or 0


def bundles_after(session: Session, after: int, limit: int) -> tuple[int, list[Bundle]]:
    """Return the next live bundles, oldest first, one for each head, without ``nodes``.

    ``after`` is 0, or the id that the last call returned with its bundles.
    """
    query = (
        select(bundles)
        .where(_newest(session), bundles.c.id > after)
        .order_by(bundles.c.id)
        .limit(limit)
    )
    found: list[Bundle] = []
    for row in session.execute(query):
        after = row.id
        found.append(bundle_rows.bundle(row))
    return after, found


def push_count(session: Session) -> int:
    query = select(func.count()).where(pushes.c.repository_id == session.repository_id)
    return session.scalar(query) or 0


def bookmarks_after(session: Session, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
    """Return the next bookmarks of drafts after the name ``after``: pairs of name and node."""
    query = (
        select(bookmarks.c.name, bookmarks.c.node)
        .where(bookmarks.c.repository_id == session.repository_id, bookmarks.c.name > after)
        .order_by(bookmarks.c.name)
        .limit(limit)
    )
    return [(row.name, row.node) for row in session.execute(query)]
