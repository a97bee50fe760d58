"""Drafts that were obliterated, with the user and the reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import insert, select

from ..errors import Refused
from .schema import audit
from .statements import BATCH, Session, clock, lock, owner_of, present

#: The ``action`` of audit rows about obliterated drafts.
OBLITERATE = 'obliterate'


def record(session: Session, user: str, nodes: Iterable[bytes], reason: bytes) -> None:
    """Record that ``nodes`` were obliterated: from then on, pushes that bring one are refused."""
    owner = owner_of(session)
    lock(session.connection, owner)
    session.execute(
        insert(audit).values(date=clock(session.connection)),
        [
            {
                'repository_id': owner,
                'user': user.encode('utf-8', 'surrogateescape'),
                'action': OBLITERATE,
                'subject': node,
                'reason': reason,
            }
            for node in nodes
        ],
    )


class Act(NamedTuple):
    """An irreversible act of an operator. ``date`` is in seconds since the epoch."""

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


def nodes(session: Session) -> set[bytes]:
    """Return all drafts that were obliterated."""
    query = select(audit.c.subject).where(
        audit.c.repository_id == session.repository_id, audit.c.action == OBLITERATE
    )
    return set(session.scalars(query))


def among(session: Session, nodes: Iterable[bytes]) -> set[bytes]:
    """Return those of ``nodes`` that were obliterated."""
    return present(session, audit.c.subject, nodes, audit.c.action == OBLITERATE)
