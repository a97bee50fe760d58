"""Drafts that were obliterated, which pushes may not bring again, or lost: by whom, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import func, insert, or_, select

from ..errors import Refused
from .schema import audit, tombstones
from .statements import Session, now, present, rows

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
#: When the draft of such a pair went, in seconds since the epoch; None if it is not known.
WENT = func.coalesce(audit.c.date, tombstones.c.gone).label('gone')


def record(session: Session, user: str, nodes: Iterable[bytes], reason: bytes) -> None:
    """Record that ``nodes`` were obliterated: from then on, pushes that bring one are refused."""
    note(session, OBLITERATE, user, nodes, reason, now(session))


def note(
    session: Session, action: str, user: str, nodes: Iterable[bytes], reason: bytes, date: int
) -> None:
    """Record why ``nodes`` are gone since ``date``, in seconds since the epoch."""
    session.lock()
    session.execute(
        insert(audit),
        [
            {
                'repository_id': session.owner,
                'date': date,
                'user': user.encode('utf-8', 'surrogateescape'),
                'action': action,
                'subject': node,
                'reason': reason,
            }
            for node in nodes
        ],
    )


def acts(session: Session) -> Sequence[Any]:
    """Return the rows of `schema.audit`, the newest first."""
    query = select(audit).where(session.mine(audit)).order_by(audit.c.id.desc())
    return session.execute(query).all()


def refuse(session: Session, nodes: Iterable[bytes]) -> None:
    """Raise `Refused` if one of ``nodes`` was obliterated.

    If the repository's row is locked, none can be obliterated meanwhile.
    """
    for node in sorted(among(session, nodes)):
        raise Refused(
            f'changeset {node.hex()[:12]} was removed from this server for good: '
            'ask those who run it'
        )


def fates(
    session: Session, nodes: Iterable[bytes]
) -> dict[tuple[bytes, int], tuple[str | None, int | None]]:
    """Return by which action those of ``nodes`` went that are gone, and when, by node and push.

    Without an action, they expired.
    """
    query = (
        select(tombstones.c.node, tombstones.c.push_id, audit.c.action, WENT)
        .outerjoin(audit, EXPLAINS)
        .where(session.mine(tombstones))
        .order_by(audit.c.action)
    )
    found = rows(session, query, tombstones.c.node, nodes)
    return {(row.node, row.push_id): (row.action, row.gone) for row in found}


def nodes(session: Session) -> set[bytes]:
    """Return all drafts that were obliterated."""
    query = select(audit.c.subject).where(session.mine(audit), audit.c.action == OBLITERATE)
    return set(session.scalars(query))


def among(session: Session, nodes: Iterable[bytes]) -> set[bytes]:
    """Return those of ``nodes`` that were obliterated."""
    return present(session, audit.c.subject, nodes, audit.c.action == OBLITERATE)
