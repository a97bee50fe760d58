"""Record the pushes of an older pushlog, with their ids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select, update

from ..model import Changeset, Conflict, PastPush
from . import push_nodes
from .batching import BATCH, batches, owner_of
from .record import changeset_ids
from .schema import changesets, push_branches, push_changesets, pushes, repositories, tombstones
from .session import Session

#: The parent of a changeset of which only the node is known.
_UNKNOWN = bytes(20)

Facts = Callable[[bytes], 'Changeset | None']


@dataclass(frozen=True)
class Compared:
    """The result of comparing pushes with those that are recorded.

    ``there`` is the number of those that are recorded, and equal.
    """

    new: list[PastPush]
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


def compare(session: Session, older: Sequence[PastPush]) -> Compared:
    """Compare pushes of an older pushlog with those that are recorded.

    A changeset may have only one push that brought it.
    """
    recorded = {
        push.push_id: push
        for push in push_nodes.past_pushes(session, [p.push_id for p in older])
    }
    unknown = [push for push in older if push.push_id not in recorded]
    owners = _owners(session, unknown)
    new: list[PastPush] = []
    conflicts: list[Conflict] = []
    for push in older:
        if push.push_id in recorded:
            if push != recorded[push.push_id]:
                conflicts.append(Conflict(push, recorded[push.push_id]))
            continue
        taken = next((node for node in push.nodes if node in owners), None)
        twice = _repeated(push.nodes)
        if taken is not None:
            conflicts.append(Conflict(push, node=taken, owner=owners[taken]))
        elif twice is not None:
            conflicts.append(Conflict(push, node=twice, owner=push.push_id))
        else:
            new.append(push)
            owners.update(dict.fromkeys(push.nodes, push.push_id))
    return Compared(new, len(older) - len(new) - len(conflicts), conflicts)


def _repeated(nodes: Sequence[bytes]) -> bytes | None:
    if len(set(nodes)) == len(nodes):
        return None
    return next(node for i, node in enumerate(nodes) if node in nodes[:i])


def _owners(session: Session, older: Iterable[PastPush]) -> dict[bytes, int]:
    """Return the ids of the recorded pushes that brought changesets of ``older``, by node."""
    owners: dict[bytes, int] = {}
    for portion in _portions(node for push in older for node in push.nodes):
        owner = session.repository_id
        listed = (
            select(changesets.c.node, push_changesets.c.push_id)
            .join(push_changesets, push_changesets.c.changeset_id == changesets.c.id)
            .where(changesets.c.repository_id == owner, changesets.c.node.in_(portion))
        )
        gone = select(tombstones.c.node, tombstones.c.push_id).where(
            tombstones.c.repository_id == owner, tombstones.c.node.in_(portion)
        )
        for query in (gone, listed):
            owners.update((bytes(n), push_id) for n, push_id in session.execute(query))
    return owners


def unknown(session: Session, older: Iterable[PastPush], facts: Facts) -> int:
    """Return the number of changesets of ``older`` of which only the node would be known."""
    missing = 0
    for portion in _portions(node for push in older for node in push.nodes):
        there = _rows(session, portion)
        missing += sum(node not in there and facts(node) is None for node in portion)
    return missing


def record(
    session: Session,
    older: Sequence[PastPush],
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
    places = (
        (push.push_id, position, node)
        for push in compared.new
        for position, node in enumerate(push.nodes)
    )
    for portion in _portions(places):
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
    return {bytes(row.node): (row.id, bytes(row.branch)) for row in session.execute(query)}


def _portions(items: Iterable[Any]) -> Iterator[list[Any]]:
    items = iter(items)
    return iter(lambda: list(itertools.islice(items, BATCH)), [])
