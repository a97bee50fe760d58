"""Choose drafts to drop, and drop them: they become tombstones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import and_, delete, func, insert, literal, select

from ..errors import Deletions
from ..model import Bundle
from . import bans, bundle_rows, deletions, markers
from .drafts import in_live_bundles
from .record import changeset_ids, record_bundles
from .schema import (
    bookmarks,
    bundle_changesets,
    bundles,
    changesets,
    draft_roots,
    push_changesets,
    pushes,
    tombstones,
)
from .statements import Session, batches, now, rows

#: Number of bundles that are dropped in one transaction.
STEP = 100


@dataclass(frozen=True)
class Choice:
    """A choice of drafts by the pushes that brought them.

    All conditions must hold; None does not restrict it. ``before`` is in seconds since the epoch.
    A draft that no push brought has the date of its bundle.
    """

    before: float | None = None
    users: tuple[bytes, ...] | None = None
    push_ids: tuple[int, ...] | None = None

    def fits(self) -> Any:
        """Return the condition on rows that have a bundle and may have a push."""
        conditions: list[Any] = [sqlalchemy.true()]
        if self.before is not None:
            conditions.append(func.coalesce(pushes.c.date, bundles.c.created) < self.before)
        if self.users is not None:
            conditions.append(pushes.c.user.in_(self.users))
        if self.push_ids is not None:
            conditions.append(pushes.c.push_id.in_(self.push_ids))
        return and_(*conditions)


@dataclass(frozen=True)
class Candidate:
    """A bundle whose head matches a choice; ``chosen`` are those of its nodes that match."""

    bundle_id: int
    bundle: Bundle
    chosen: frozenset[bytes]


def choose(session: Session, choice: Choice, after: int) -> list[Candidate]:
    """Return the next `STEP` live bundles whose heads match, with an id above ``after``."""
    head = changesets.alias('head')
    candidates = (
        select(bundles.c.id)
        .join(
            head,
            (head.c.repository_id == bundles.c.repository_id) & (head.c.node == bundles.c.head),
        )
        .outerjoin(push_changesets, push_changesets.c.changeset_id == head.c.id)
        .outerjoin(pushes)
        .where(*bundle_rows.live(session), bundles.c.id > after, choice.fits())
        .order_by(bundles.c.id)
        .limit(STEP)
    )
    return _candidates(session, list(session.scalars(candidates)), choice)


def holding(session: Session, nodes: Collection[bytes]) -> list[Candidate]:
    """Return every live bundle that holds one of ``nodes``; all nodes in it count as chosen."""
    held = rows(session, in_live_bundles(session, bundles.c.id), changesets.c.node, nodes)
    return _candidates(session, {row.id for row in held}, Choice())


def _candidates(session: Session, bundle_ids: Iterable[int], choice: Choice) -> list[Candidate]:
    query = (
        select(bundles, changesets.c.node, choice.fits().label('fits'))
        .join(bundle_changesets, bundle_changesets.c.bundle_id == bundles.c.id)
        .join(changesets, changesets.c.id == bundle_changesets.c.changeset_id)
        .outerjoin(push_changesets, push_changesets.c.changeset_id == changesets.c.id)
        .outerjoin(pushes)
        .order_by(bundles.c.id, bundle_changesets.c.position)
    )
    found: dict[int, list[Any]] = {}
    for row in rows(session, query, bundles.c.id, bundle_ids):
        found.setdefault(row.id, []).append(row)
    return [
        Candidate(
            bundle_id,
            bundle_rows.bundle(held[0], [row.node for row in held]),
            frozenset(row.node for row in held if row.fits),
        )
        for bundle_id, held in found.items()
    ]


def held_elsewhere(session: Session, nodes: Collection[bytes], keys: Collection[str]) -> set[bytes]:
    """Return those of ``nodes`` that are in a live bundle whose key is not in ``keys``."""
    query = in_live_bundles(session, changesets.c.node, bundles.c.key)
    held = rows(session, query, changesets.c.node, nodes)
    return {row.node for row in held if row.key not in keys}


class Loss(NamedTuple):
    """Who drops drafts that were lost, and what is wrong with their object."""

    user: str
    reason: bytes


def drop(
    session: Session,
    keys: Collection[str],
    nodes: Collection[bytes],
    replacements: Sequence[Bundle],
    stored_again: Deletions,
    loss: Loss | None = None,
) -> list[bytes]:
    """Delete the rows of the bundles ``keys``, and turn ``nodes`` into tombstones.

    Return the nodes of the tombstones: drafts that are in another live bundle stay.
    ``replacements`` are recorded for the other drafts of the bundles. The objects are marked
    for deletion: see `lifecycle.delete`. If the drafts were lost, ``loss`` is noted of each.

    Raise `Temporary` and `Vanished`.
    """
    record_bundles(session, replacements, changeset_ids(session, (), replacements))
    stored = [bundle.key for bundle in replacements]
    # The database deletes the rows of `bundle_changesets` with them.
    for batch in batches(sorted(set(keys).difference(stored))):
        session.execute(delete(bundles).where(session.mine(bundles), bundles.c.key.in_(batch)))
    # A push may have built on them meanwhile.
    held = held_elsewhere(session, nodes, ())
    tombstoned = sorted(set(nodes) - held)
    gone = now(session)
    for batch in batches(tombstoned):
        _make_tombstones(session, batch, gone)
    session.lock()
    if loss is not None and tombstoned:
        bans.note(session, bans.LOST, loss.user, tombstoned, loss.reason, gone)
    for batch in batches(tombstoned):  # a push may have bookmarked one; now none can
        session.execute(
            delete(bookmarks).where(session.mine(bookmarks), bookmarks.c.node.in_(batch))
        )
    deletions.check(session, stored, stored_again)
    deletions.mark(session, sorted(keys))
    return tombstoned


def _make_tombstones(session: Session, nodes: Sequence[bytes], gone: int) -> None:
    """Replace ``nodes`` in the pushlog by tombstones; delete everything else about them."""
    chosen = session.mine(changesets), changesets.c.node.in_(nodes)
    ids = select(changesets.c.id).where(*chosen)
    places = [push_changesets.c[name] for name in ('repository_id', 'push_id', 'position')]
    columns = [*places, changesets.c.node, changesets.c.p1, changesets.c.p2]
    brought = (
        select(*columns, literal(gone))
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(*chosen)
    )
    names = [*(column.name for column in columns), 'gone']
    session.execute(insert(tombstones).from_select(names, brought))
    # Not from `bundle_changesets`: if a push has just put one into a bundle, the database
    # refuses to delete the changeset.
    for table in (push_changesets, draft_roots):
        session.execute(delete(table).where(table.c.changeset_id.in_(ids)))
    session.execute(delete(changesets).where(*chosen))  # the database deletes their words
    markers.forget(session, nodes)
