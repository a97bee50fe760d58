"""What an import records: drafts that no push brought, pushes of an older pushlog; what an export
reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import case, delete, func, insert, select, update

from ..errors import Deletions
from ..model import Bundle, Changeset, Conflict, Marker, PushNodes
from . import bans, bookmarks as catalog_bookmarks, bundle_rows, deletions, markers, pushlog
from .record import changeset_ids, record_bundles
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
from .statements import Session, batches, insert_new, present, rows, split_nodes


def stored(session: Session, heads: Collection[bytes]) -> set[tuple[bytes, tuple[bytes, ...], int]]:
    """Return head, bases and number of changesets of the live bundles of ``heads``."""
    query = (
        select(bundles.c.head, bundles.c.bases, func.count().label('changesets'))
        .join(bundle_changesets, bundle_changesets.c.bundle_id == bundles.c.id)
        .where(*bundle_rows.live(session))
        .group_by(bundles.c.id)
    )
    found = rows(session, query, bundles.c.head, heads)
    return {(row.head, split_nodes(row.bases), row.changesets) for row in found}


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
    nodes = {c.node for c in brought}
    old_nodes = present(session, changesets.c.node, nodes)
    keys = {bundle.key: bundle for bundle in stored}
    old_keys = present(session, bundles.c.key, keys)
    ids = changeset_ids(session, brought, stored)
    record_bundles(session, stored, ids)
    markers.record(session, marks)
    _revive(session, ids)
    session.lock()
    bans.refuse(session, nodes)
    deletions.check(session, list(keys), stored_again)
    new = [bundle for key, bundle in keys.items() if key not in old_keys]
    return Counter(
        bundles=len(new), changesets=len(nodes - old_nodes), size=sum(each.size for each in new)
    )


def revive(session: Session, changeset: Changeset) -> bool:
    """Turn a tombstone back into a changeset that is public; return whether it is one now."""
    session.lock()
    if bans.among(session, [changeset.node]):
        return False
    _revive(session, changeset_ids(session, [changeset], []))
    return True


def _revive(session: Session, ids: Mapping[bytes, int]) -> None:
    """Turn tombstones of ``ids`` back into changesets of the pushes that brought them last."""
    column = push_changesets.c.changeset_id
    brought = {number for (number,) in rows(session, select(column), column, ids.values())}
    gone = {node for node, number in ids.items() if number not in brought}
    query = select(tombstones).where(session.mine(tombstones)).order_by(tombstones.c.push_id)
    last = {row.node: row for row in rows(session, query, tombstones.c.node, gone)}
    for node, row in last.items():
        place = {name: getattr(row, name) for name in ('repository_id', 'push_id', 'position')}
        session.execute(delete(tombstones).where(*(tombstones.c[n] == v for n, v in place.items())))
        session.execute(insert(push_changesets).values(**place, changeset_id=ids[node]))


def record_bookmarks(session: Session, marks: Mapping[bytes, bytes]) -> list[bytes]:
    """Write bookmarks of drafts; return the names of those that are elsewhere.

    A bookmark that is there already stays where it is, because a push may have moved it.
    """
    mine = {'repository_id': session.owner}
    fresh = [{**mine, 'name': name, 'node': node} for name, node in sorted(marks.items())]
    insert_new(session, bookmarks, fresh, updated=session.clock)
    found = catalog_bookmarks.places(session, marks)
    return [name for name, node in sorted(found.items()) if node != marks[name]]


#: The parent of a changeset of which only the node is known.
_UNKNOWN = bytes(20)

Facts = Callable[[bytes], 'Changeset | None']


def _reserve(session: Session, last: int) -> None:
    """Reserve the ids up to ``last`` for an older pushlog.

    The next push gets a higher id, and is not shown before `finish`, so that clients that poll
    do not skip pushes that are imported later.
    """
    imported, newest = repositories.c.imported_push_id, repositories.c.last_push_id
    session.execute(
        update(repositories)
        .where(repositories.c.id == session.owner)
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


def compare(session: Session, older: Sequence[PushNodes]) -> tuple[list[PushNodes], list[Conflict]]:
    """Return which pushes of an older pushlog are new, and the conflicts with recorded ones.

    The others are recorded, and equal. A changeset may have only one push that brought it.
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
    return new, conflicts


def unknown(session: Session, older: Iterable[PushNodes], facts: Facts) -> int:
    """Return the number of changesets of ``older`` of which only the node would be known."""
    missing = 0
    for portion in batches([node for push in older for node in push.nodes]):
        there = _rows(session, portion)
        missing += sum(node not in there and facts(node) is None for node in portion)
    return missing


def record_pushes(
    session: Session, older: Sequence[PushNodes], last: int, facts: Facts
) -> tuple[list[PushNodes], list[Conflict], int]:
    """Record those of ``older`` that are new, from a pushlog that ends with the id ``last``.

    ``facts`` returns a changeset that the catalog does not know, or None. Return the result of
    `compare`, and the number of changesets that became tombstones.
    """
    new, conflicts = compare(session, older)
    if not new:
        return new, conflicts, 0
    _reserve(session, last)
    mine = {'repository_id': session.owner}
    session.execute(
        pushes.insert(),
        [
            {**mine, 'push_id': p.push_id, 'user': p.user, 'date': p.date, 'listed': len(p.nodes)}
            for p in new
        ],
    )
    gone = 0
    branches: set[tuple[int, bytes]] = set()
    places = [
        (push.push_id, position, node) for push in new for position, node in enumerate(push.nodes)
    ]
    for portion in batches(places):
        known = _known(session, [node for *_place, node in portion], facts)
        listed: list[dict[str, Any]] = []
        tombstoned: list[dict[str, Any]] = []
        for push_id, position, node in portion:
            row = {**mine, 'push_id': push_id, 'position': position}
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
    listed = [{**mine, 'push_id': i, 'branch': branch} for i, branch in sorted(branches)]
    insert_new(session, push_branches, listed)
    return new, conflicts, gone


def _known(
    session: Session, nodes: Sequence[bytes], facts: Facts
) -> dict[bytes, tuple[int, bytes]]:
    """Return the id and branch of those of ``nodes`` of which more than the node is known.

    Insert those that have no row.
    """
    found = _rows(session, nodes)
    fresh = [c for c in (facts(node) for node in nodes if node not in found) if c is not None]
    ids = changeset_ids(session, fresh, ())
    found.update((c.node, (ids[c.node], c.branch)) for c in fresh)
    return found


def _rows(session: Session, nodes: Sequence[bytes]) -> dict[bytes, tuple[int, bytes]]:
    columns = changesets.c.node, changesets.c.id, changesets.c.branch
    found = rows(session, select(*columns).where(session.mine(changesets)), columns[0], nodes)
    return {row.node: (row.id, row.branch) for row in found}


def _newest(session: Session) -> list[sqlalchemy.ColumnElement[bool]]:
    """Return the conditions that a bundle is the newest live one with its head."""
    newer = bundles.alias('newer')
    is_newer = newer.c.head == bundles.c.head, newer.c.id > bundles.c.id
    others = select(newer.c.id).where(session.mine(newer), newer.c.state == LIVE, *is_newer)
    return [*bundle_rows.live(session), ~others.exists()]


def bundle_count(session: Session) -> int:
    """Return the total number of bundles that `bundles_after` returns."""
    return session.scalar(select(func.count()).where(*_newest(session))) or 0


def bundles_after(session: Session, after: int, limit: int) -> list[tuple[int, Bundle]]:
    """Return the next live bundles, oldest first, one for each head, without ``nodes``.

    Each has a number, the last of which is ``after`` for the next call.
    """
    query = select(bundles).where(*_newest(session), bundles.c.id > after).order_by(bundles.c.id)
    return [(row.id, bundle_rows.bundle(row)) for row in session.execute(query.limit(limit))]


def push_count(session: Session) -> int:
    query = select(func.count()).where(session.mine(pushes))
    return session.scalar(query) or 0
