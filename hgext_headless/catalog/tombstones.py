"""Find a changeset that is gone."""

from __future__ import annotations

import re
import time

from sqlalchemy import select

from ..model import Tombstone
from .bans import OBLITERATE
from .drafts import prefix_range
from .pushlog import LONG_PREFIX, imported_push_id
from .schema import audit, pushes, tombstones
from .session import Session


def named(session: Session, name: bytes) -> Tombstone | None:
    """Return the changeset that is gone whose hash, or a long prefix of it, is ``name``.

    Its push is the latest one that brought it.
    """
    if not re.fullmatch(LONG_PREFIX, name):
        return None
    query = (
        select(
            tombstones.c.node,
            tombstones.c.gone,
            pushes.c.push_id,
            pushes.c.date,
            audit.c.date.label('removed'),
        )
        .join(
            pushes,
            (pushes.c.repository_id == tombstones.c.repository_id)
            & (pushes.c.push_id == tombstones.c.push_id),
        )
        .outerjoin(
            audit,
            (audit.c.repository_id == tombstones.c.repository_id)
            & (audit.c.action == OBLITERATE)
            & (audit.c.subject == tombstones.c.node),
        )
        .where(
            tombstones.c.repository_id == session.repository_id,
            tombstones.c.node.between(*prefix_range(name.decode('ascii'))),
        )
        .order_by(pushes.c.push_id.desc())
        .limit(1)
    )
    row = session.execute(query).first()
    return row and Tombstone(row.node, row.push_id, row.date, row.gone, row.removed)


def fate(session: Session, tombstone: Tombstone) -> str:
    """Return in words which push brought a changeset that is gone, and when and how it went."""
    if tombstone.removed is not None:
        went = f'was removed on {_day(tombstone.removed)}'
    elif tombstone.push_id <= imported_push_id(session):
        went = 'is kept no longer'
    elif tombstone.gone is not None:
        went = f'expired on {_day(tombstone.gone)}'
    else:
        went = 'has expired'
    return f'push {tombstone.push_id} brought it on {_day(tombstone.pushed)}, and it {went}'


def _day(seconds: int) -> str:
    return time.strftime('%Y-%m-%d', time.gmtime(seconds))
