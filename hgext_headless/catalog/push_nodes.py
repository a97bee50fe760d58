"""Pushes with the nodes of all that they brought, including tombstones."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy
from sqlalchemy import literal, select, union_all

from ..model import PastPush, Selection
from . import pushlog
from .batching import batches
from .schema import changesets, push_changesets, tombstones
from .session import Session


def past_pushes(session: Session, push_ids: Sequence[int]) -> list[PastPush]:
    """Return those of ``push_ids`` that are recorded, oldest first."""
    found: list[PastPush] = []
    for batch in batches(sorted(push_ids)):
        entries = pushlog.entries(
            session,
            Selection(push_ids=tuple(batch)),
            newest=False,
            limit=None,
        )
        names: dict[int, list[tuple[bytes, bool]]] = {entry.push_id: [] for entry in entries}
        for row in session.execute(_names(session, list(names))):
            names[row.push_id].append((bytes(row.node), bool(row.gone)))
        found += [
            PastPush(
                entry.push_id,
                entry.user,
                entry.date,
                nodes=tuple(node for node, _gone in names[entry.push_id]),
                tombstoned=frozenset(node for node, gone in names[entry.push_id] if gone),
            )
            for entry in entries
        ]
    return found


def _names(session: Session, push_ids: Sequence[int]) -> sqlalchemy.Select[tuple[int, bytes, bool]]:
    listed = (
        select(
            push_changesets.c.push_id,
            push_changesets.c.position,
            changesets.c.node,
            literal(0).label('gone'),
        )
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(
            push_changesets.c.repository_id == session.repository_id,
            push_changesets.c.push_id.in_(push_ids),
        )
    )
    gone = select(
        tombstones.c.push_id, tombstones.c.position, tombstones.c.node, literal(1).label('gone')
    ).where(
        tombstones.c.repository_id == session.repository_id,
        tombstones.c.push_id.in_(push_ids),
    )
    names = union_all(listed, gone).subquery()
    return select(names.c.push_id, names.c.node, names.c.gone).order_by(
        names.c.push_id, names.c.position
    )
