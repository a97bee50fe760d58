"""Drafts that were obliterated, or lost: by whom, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import insert, or_, select

from ..errors import Refused
from .schema import audit, tombstones
from .statements import BATCH, Session, lock, now, owner_of, present, rows

#: The ``action`` of audit rows about drafts that were obliterated, and about those that were
#: dropped because their objects were lost.
OBLITERATE, LOST = 'obliterate', 'lost'
#: Joins a tombstone with the rows that say why its draft is gone. If it was pushed again, it may
#: have been lost once and have expired later.
EXPLAINS = (
    (audit.c.repository_id == tombstones.c.repository_id)
    & (audit.c.subject == tombstones.c.node)
    & or_(
        audit.c.action == OBLITERATE,
        (audit.c.action == LOST) & (audit.c.date == tombstones.c.gone),
    )
)


def record(session: Session, user: str, nodes: Iterable[bytes], reason: bytes) -> None:
    """Record that ``nodes`` were obliterated: from then on, pushes that bring one are refused."""
    note(session, OBLITERATE, user, nodes, reason, now(session))


def note(
    session: Session, action: str, user: str, nodes: Iterable[bytes], reason: bytes, date: int
) -> None:
    """Record why ``nodes`` are gone since ``date``, in seconds since the epoch."""
    owner = owner_of(session)
    lock(session.connection, owner)
    session.execute(
        insert(audit),
        [
            {
                'repository_id': owner,
                'date': date,
                'user': user.encode('utf-8', 'surrogateescape'),
                'action': action,
                'subject': node,
                'reason': reason,
            }
            for node in nodes
        ],
    )


class Act(NamedTuple):
    """An act of an operator by which a draft went. ``date`` is in seconds since the epoch."""

    number: int
    date: int
    user: bytes
    action: str
    subject: bytes
    reason: bytes


def acts(session: Session, before: int) -> list[Act]:
    """Return the acts with a number below ``before``, newest first, `BATCH` at most."""
    query = (
        select(
            audit.c.id,
            audit.c.date,
            audit.c.user,
            audit.c.action,
            audit.c.subject,
            audit.c.reason,
        )
        .where(audit.c.repository_id == session.repository_id, audit.c.id < before)
        .order_by(audit.c.id.desc())
        .limit(BATCH)
    )
    return [Act(*row) for row in session.execute(query)]


def refuse(session: Session, nodes: Iterable[bytes]) -> None:
    """Raise `Refused` if one of ``nodes`` was obliterated.

    If the repository's row is locked, none can be obliterated meanwhile.
    """
    for node in sorted(among(session, nodes)):
        raise Refused(f'changeset {node.hex()[:12]} was removed from this server for good')


def actions(session: Session, nodes: Iterable[bytes]) -> dict[bytes, str | None]:
    """Return the actions by which those of ``nodes`` went last that are gone; None: it expired."""
    query = (
        select(tombstones.c.node, audit.c.action)
        .outerjoin(audit, EXPLAINS)
        .order_by(tombstones.c.push_id, audit.c.action)
    )
    mine = tombstones.c.repository_id == session.repository_id
    found = rows(session, nodes, lambda batch: query.where(mine, tombstones.c.node.in_(batch)))
    return {row.node: row.action for row in found}


def nodes(session: Session) -> set[bytes]:
    """Return all drafts that were obliterated."""
    query = select(audit.c.subject).where(
        audit.c.repository_id == session.repository_id, audit.c.action == OBLITERATE
    )
    return set(session.scalars(query))


def among(session: Session, nodes: Iterable[bytes]) -> set[bytes]:
    """Return those of ``nodes`` that were obliterated."""
    return present(session, audit.c.subject, nodes, audit.c.action == OBLITERATE)
