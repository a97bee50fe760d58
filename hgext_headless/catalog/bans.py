"""Drafts that were removed for good, with who did it and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import insert, select

from ..errors import Refused
from .batching import BATCH, batches, ensure_repository, lock
from .schema import audit
from .session import Session

#: The ``action`` of audit rows.
FORGET = 'forget'


def record(
    session: Session,
    user: str,
    nodes: Iterable[bytes],
    reason: bytes,
    now: int,
) -> None:
    """Note that drafts are forgotten: from then on a push that brings one is refused."""
    owner = ensure_repository(session.connection, session.repository)
    lock(session.connection, owner)
    session.execute(
        insert(audit),
        [
            {
                'repository_id': owner,
                'date': now,
                'user': user.encode('utf-8', 'surrogateescape'),
                'action': FORGET,
                'subject': node,
                'reason': reason,
            }
            for node in nodes
        ],
    )


class Act(NamedTuple):
    """What an operator did for good; ``date`` is seconds since the epoch."""

    number: int
    date: int
    user: bytes
    action: str
    subject: bytes
    reason: bytes


def acts(session: Session, before: int) -> list[Act]:
    """The last acts with a number below ``before``, the newest first, some at a time."""
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
    return [
        Act(row[0], row[1], bytes(row[2]), row[3], bytes(row[4]), bytes(row[5]))
        for row in session.execute(query)
    ]


def refuse(session: Session, nodes: Iterable[bytes]) -> None:
    """Raise `Refused` where one of some changesets has been forgotten. Where the
    repository's row is locked, nobody forgets one meanwhile."""
    for node in sorted(among(session, nodes)):
        raise Refused(f'changeset {node.hex()[:12]} was removed from this server for good')


def among(
    session: Session, nodes: Iterable[bytes]
) -> set[bytes]:
    """Those of some changesets that have been forgotten."""
    found: set[bytes] = set()
    for batch in batches(sorted(set(nodes))):
        query = select(audit.c.subject).where(
            audit.c.repository_id == session.repository_id,
            audit.c.action == FORGET,
            audit.c.subject.in_(batch),
        )
        found.update(bytes(node) for node in session.scalars(query))
    return found
