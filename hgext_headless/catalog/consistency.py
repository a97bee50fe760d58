"""Queries of `admin::headless-verify`: whether the rows agree with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select, union_all, update

from ..model import Changeset
from . import pushlog
from .schema import (
    bundle_changesets,
    bundles,
    changesets,
    push_branches,
    push_changesets,
    pushes,
    repositories,
    tombstones,
)
from .statements import Session

#: Number of pushes that one query checks.
STEP = 1000


class Counter(NamedTuple):
    """Counters of a row of `schema.repositories`, and what the pushes say themselves.

    ``highest`` is the highest id of a push, ``there`` the number of those that were imported.
    """

    last_push_id: int
    imported_push_id: int
    imported_pushes: int | None
    highest: int
    there: int


def counter(session: Session) -> Counter:
    highest = select(func.max(pushes.c.push_id)).where(session.mine(pushes))
    there = select(func.count()).where(
        session.mine(pushes), pushes.c.push_id <= repositories.c.imported_push_id
    )
    query = select(
        repositories.c.last_push_id,
        repositories.c.imported_push_id,
        repositories.c.imported_pushes,
        func.coalesce(highest.scalar_subquery(), 0),
        there.scalar_subquery(),
    ).where(repositories.c.id == session.repository_id)
    row = session.execute(query).first()
    return Counter(*row) if row else Counter(0, 0, None, 0, 0)


def incomplete(session: Session, low: int, high: int) -> Sequence[Any]:
    """Return the pushes from ``low`` to ``high`` that lack some of their changesets.

    Each is its push id, the number of changesets found, and the number expected.
    """
    places = union_all(
        *(
            select(table.c.push_id, table.c.position).where(
                session.mine(table), table.c.push_id.between(low, high)
            )
            for table in (push_changesets, tombstones)
        )
    ).subquery()
    number, last = func.count(places.c.position), func.max(places.c.position)
    expected = func.coalesce(pushes.c.listed, func.coalesce(last, 0) + 1)
    query = (
        select(pushes.c.push_id, number, expected)
        .outerjoin(places, places.c.push_id == pushes.c.push_id)
        .where(session.mine(pushes), pushes.c.push_id.between(low, high))
        .group_by(pushes.c.push_id, pushes.c.listed)
        .having(number < expected)
    )
    return session.execute(query).all()


def gone_from_all(session: Session, low: int, high: int) -> list[tuple[int, bytes]]:
    """Return the tombstones of the pushes from ``low`` to ``high`` whose changesets no push lists.

    Each is a pair of push id and node.
    """
    listed = (
        select(push_changesets.c.changeset_id)
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(
            changesets.c.repository_id == tombstones.c.repository_id,
            changesets.c.node == tombstones.c.node,
        )
    )
    query = (
        select(tombstones.c.push_id, tombstones.c.node)
        .where(session.mine(tombstones), tombstones.c.push_id.between(low, high), ~listed.exists())
        .order_by(tombstones.c.push_id, tombstones.c.position)
    )
    return [(row.push_id, row.node) for row in session.execute(query)]


def facts_of_bundle(session: Session, key: str) -> list[Changeset]:
    """Return the changesets of a bundle, in its order."""
    query = (
        select(*changesets.c)
        .join(bundle_changesets, bundle_changesets.c.changeset_id == changesets.c.id)
        .join(bundles, bundles.c.id == bundle_changesets.c.bundle_id)
        .where(session.mine(bundles), bundles.c.key == key)
        .order_by(bundle_changesets.c.position)
    )
    return [pushlog.facts(row) for row in session.execute(query)]


def set_counter(session: Session, last: int) -> None:
    """Increase the counter of push ids to ``last``, if it is lower."""
    session.execute(
        update(repositories)
        .where(repositories.c.id == session.repository_id, repositories.c.last_push_id < last)
        .values(last_push_id=last)
    )


def first_push_since(session: Session, since: float) -> int:
    """Return the lowest id of a push since a time in seconds since the epoch, or one above all."""
    query = select(func.min(pushes.c.push_id)).where(session.mine(pushes), pushes.c.date >= since)
    found: int | None = session.scalar(query)
    return 2**62 if found is None else found


def push_ids(session: Session, after: int) -> list[int]:
    """Return the next push ids above ``after``, in order, `STEP` at most."""
    query = select(pushes.c.push_id).where(session.mine(pushes), pushes.c.push_id > after)
    return list(session.scalars(query.order_by(pushes.c.push_id).limit(STEP)))


def without_bundle(session: Session, low: int, high: int, full: bool) -> Sequence[Any]:
    """Return changesets that the pushes from ``low`` to ``high`` brought and no bundle holds.

    They must be public. Each has ``push_id`` and ``node`` and, if ``full``, all that
    `pushlog.facts` takes.
    """
    held = select(bundle_changesets.c.bundle_id).where(
        bundle_changesets.c.changeset_id == changesets.c.id
    )
    query = (
        select(push_changesets.c.push_id, *(changesets.c if full else [changesets.c.node]))
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(
            session.mine(push_changesets),
            push_changesets.c.push_id.between(low, high),
            ~held.exists(),
        )
    )
    return session.execute(query).all()


def missing_branches(session: Session, low: int, high: int) -> list[tuple[int, bytes]]:
    """Return the pairs of push id and branch that `schema.push_branches` lacks."""
    query = (
        select(push_changesets.c.push_id, changesets.c.branch)
        .distinct()
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(
            session.mine(push_changesets),
            push_changesets.c.push_id.between(low, high),
            ~select(push_branches.c.push_id)
            .where(
                push_branches.c.repository_id == push_changesets.c.repository_id,
                push_branches.c.push_id == push_changesets.c.push_id,
                push_branches.c.branch == changesets.c.branch,
            )
            .exists(),
        )
    )
    return [(row.push_id, row.branch) for row in session.execute(query)]


def add_branch(session: Session, push_id: int, branch: bytes) -> None:
    """Add a row that `missing_branches` found."""
    row = {'repository_id': session.owner, 'push_id': push_id, 'branch': branch}
    session.execute(insert(push_branches).values(row))
