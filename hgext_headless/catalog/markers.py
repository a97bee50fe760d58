"""Obsolescence markers of drafts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import delete, select

from ..errors import Temporary
from ..model import Marker
from .schema import marker_nodes, markers
from .statements import Session, batches, insert_new, present, rows

#: Maximum number of markers that are read for a page, of each batch of changesets.
MOST = 1000


def record(session: Session, brought: Sequence[Marker]) -> int:
    """Store markers that may be there already; return the number of new ones.

    Clients send every marker again with every push. Raise `Temporary` if a marker was deleted
    meanwhile.
    """
    by_digest = {hashlib.sha256(m.data).digest(): m for m in brought}
    new = 0
    # Sorted, so that pushes of the same markers do not deadlock.
    for batch in batches(sorted(by_digest)):
        missing = sorted(set(batch) - _ids(session, batch).keys())
        inserted = [
            {
                'repository_id': session.owner,
                'digest': digest,
                'predecessor': by_digest[digest].predecessor,
                'data': by_digest[digest].data,
            }
            for digest in missing
        ]
        insert_new(session, markers, inserted)
        new += len(missing)
        ids = _ids(session, batch)
        if len(ids) < len(batch):
            raise Temporary('an obsolescence marker was deleted meanwhile')
        nodes = {(node, ids[digest]) for digest in batch for node in by_digest[digest].nodes}
        _record_nodes(session, nodes)
    return new


def _ids(session: Session, digests: Sequence[bytes]) -> dict[bytes, int]:
    query = select(markers.c.digest, markers.c.id).where(session.mine(markers))
    return {row.digest: row.id for row in rows(session, query, markers.c.digest, digests)}


def _record_nodes(session: Session, wanted: set[tuple[bytes, int]]) -> None:
    # If the marker existed already, some of its rows may be gone: see `forget`.
    query = select(marker_nodes.c.node, marker_nodes.c.marker_id)
    found = rows(session, query, marker_nodes.c.marker_id, (number for _node, number in wanted))
    missing = wanted - {(row.node, row.marker_id) for row in found}
    mine = {'repository_id': session.owner}
    new = [{**mine, 'node': node, 'marker_id': number} for node, number in sorted(missing)]
    insert_new(session, marker_nodes, new)


def exchanged_with(
    session: Session, nodes: Iterable[bytes], limit: int | None = None
) -> list[bytes]:
    """Return the markers that are exchanged with ``nodes``, encoded; ``limit`` for each batch."""
    return list({row.id: row.data for row in _exchanged_with(session, nodes, limit)}.values())


def relevant(session: Session, nodes: Iterable[bytes]) -> list[bytes]:
    """Return the markers that Mercurial's ``obsstore.relevantmarkers`` calls relevant, encoded.

    These are the markers exchanged with ``nodes``, those exchanged with their predecessors,
    and so on.
    """
    found: dict[int, bytes] = {}
    pending = set(nodes)
    seen = set(pending)
    while pending:
        predecessors = set()
        for row in _exchanged_with(session, pending):
            found[row.id] = row.data
            predecessors.add(row.predecessor)
        pending = predecessors - seen
        seen |= pending
    return list(found.values())


def _exchanged_with(
    session: Session, nodes: Iterable[bytes], limit: int | None = None
) -> Iterator[Any]:
    query = (
        select(markers.c.id, markers.c.predecessor, markers.c.data)
        .join(marker_nodes, marker_nodes.c.marker_id == markers.c.id)
        .where(session.mine(marker_nodes))
        .limit(limit)
    )
    return rows(session, query, marker_nodes.c.node, nodes)


def obsolete(session: Session, nodes: Iterable[bytes]) -> set[bytes]:
    """Return those of ``nodes`` that a marker makes obsolete."""
    return present(session, markers.c.predecessor, nodes)


def replacing(session: Session, nodes: Iterable[bytes]) -> list[bytes]:
    """Return the markers that make one of ``nodes`` obsolete, encoded; of too many, the newest."""
    query = select(markers.c.data).where(session.mine(markers)).order_by(markers.c.id.desc())
    found = rows(session, query.limit(MOST), markers.c.predecessor, nodes)
    return [row.data for row in found]


def forget(session: Session, nodes: Iterable[bytes]) -> None:
    """Delete the rows of ``nodes``, and of markers that are exchanged with no other changeset."""
    for batch in batches(sorted(set(nodes))):
        gone = session.scalars(
            delete(marker_nodes)
            .where(session.mine(marker_nodes), marker_nodes.c.node.in_(batch))
            .returning(marker_nodes.c.marker_id)
        ).all()
        kept = select(marker_nodes.c.marker_id).where(marker_nodes.c.marker_id == markers.c.id)
        for ids in batches(sorted(set(gone))):
            session.execute(delete(markers).where(markers.c.id.in_(ids), ~kept.exists()))
