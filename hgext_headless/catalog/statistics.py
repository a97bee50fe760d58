"""The numbers of `admin::headless-stats`. The database does all grouping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import case, func, select

from . import pushlog
from .schema import (
    LIVE,
    bookmarks,
    bundle_changesets,
    bundles,
    markers,
    push_changesets,
    pushes,
    repositories,
    tombstones,
)
from .statements import Session

#: Seconds of a day.
DAY = 86400


class Repository(NamedTuple):
    """A repository of the database.

    ``last_push`` is in seconds since the epoch, None if there is none; ``bytes`` is the size of
    its ``bundles``.
    """

    name: str
    last_push_id: int
    last_push: int | None
    bundles: int
    bytes: int


class Pushed(NamedTuple):
    """The sums over all pushes up to ``push_id``.

    ``bytes`` are decompressed; ``seconds`` are what the pushes took until they were recorded.
    """

    push_id: int
    pushes: int
    changesets: int
    bytes: int
    seconds: float


class Totals(NamedTuple):
    """The totals of a repository.

    ``changesets`` are those that pushes brought, ``tombstones`` those of them that are gone,
    ``drafts`` those in live bundles. Sizes are in bytes; dates are in seconds since the epoch,
    or None if there is nothing.
    """

    pushes: int
    changesets: int
    tombstones: int
    drafts: int
    bundles: int
    bytes: int
    bookmarks: int
    markers: int
    last_push_id: int
    first_push: int | None
    last_push: int | None
    oldest_bundle: int | None
    newest_bundle: int | None


class Day(NamedTuple):
    """What was pushed and stored on one day.

    ``day`` is counted from the epoch, in UTC. ``bundles`` and ``bytes`` are what was stored on
    that day and is still there.
    """

    day: int
    pushes: int
    changesets: int
    bundles: int
    bytes: int


class User(NamedTuple):
    user: bytes
    pushes: int
    changesets: int


class Ages(NamedTuple):
    """The number of live bundles between two ages, and their size."""

    bundles: int
    bytes: int


def pushed(session: Session, known: Pushed | None) -> Pushed:
    """Return the sums over all pushes.

    Only pushes after ``known`` are read: ids ascend with commits, and a push is never changed.
    """
    last = pushlog.last_push_id(session)
    if known is None or known.push_id > last:
        known = Pushed(0, 0, 0, 0, 0.0)
    sums = session.execute(
        select(
            func.count(),
            func.sum(pushes.c.listed),
            func.sum(pushes.c.size),
            func.sum(pushes.c.seconds),
        ).where(
            pushes.c.repository_id == session.repository_id,
            pushes.c.push_id > known.push_id,
            pushes.c.push_id <= last,
        )
    ).one()
    count, listed, size, seconds = sums
    return Pushed(
        last,
        known.pushes + count,
        known.changesets + int(listed or 0),
        known.bytes + int(size or 0),
        known.seconds + float(seconds or 0),
    )


def totals(session: Session) -> Totals:
    def count(table: sqlalchemy.Table) -> int:
        query = select(func.count()).select_from(table)
        return session.scalar(query.where(table.c.repository_id == session.repository_id)) or 0

    # Counting the changesets that have such a row would take many times as long.
    drafts = (
        select(func.count(bundle_changesets.c.changeset_id.distinct()))
        .join(bundles, bundles.c.id == bundle_changesets.c.bundle_id)
        .where(*_live(session))
    )
    gone = count(tombstones)
    pushed = session.execute(
        select(func.count(), func.min(pushes.c.date), func.max(pushes.c.date)).where(
            pushes.c.repository_id == session.repository_id
        )
    ).one()
    kept = session.execute(
        select(
            func.count(),
            func.sum(bundles.c.size),
            func.min(bundles.c.created),
            func.max(bundles.c.created),
        ).where(*_live(session))
    ).one()
    return Totals(
        pushes=pushed[0],
        changesets=count(push_changesets) + gone,
        tombstones=gone,
        drafts=session.scalar(drafts) or 0,
        bundles=kept[0],
        bytes=int(kept[1] or 0),
        bookmarks=count(bookmarks),
        markers=count(markers),
        last_push_id=session.scalar(
            select(repositories.c.last_push_id).where(repositories.c.id == session.repository_id)
        )
        or 0,
        first_push=pushed[1],
        last_push=pushed[2],
        oldest_bundle=kept[2],
        newest_bundle=kept[3],
    )


def _live(session: Session) -> tuple[sqlalchemy.ColumnElement[bool], ...]:
    return bundles.c.repository_id == session.repository_id, bundles.c.state == LIVE


def _per_push(session: Session, since: int) -> sqlalchemy.Subquery:
    """Return a subquery: each push since ``since``, with the number of changesets it brought."""
    brought: Any = 0
    for table in (push_changesets, tombstones):
        brought += (
            select(func.count())
            .where(
                table.c.repository_id == pushes.c.repository_id,
                table.c.push_id == pushes.c.push_id,
            )
            .scalar_subquery()
        )
    return (
        select(
            pushes.c.user,
            (pushes.c.date // DAY).label('day'),
            brought.label('changesets'),
        )
        .where(pushes.c.repository_id == session.repository_id, pushes.c.date >= since)
        .subquery()
    )


def by_day(session: Session, since: int) -> list[Day]:
    """Return the days since ``since`` on which anything was pushed or stored.

    ``since`` is in seconds since the epoch.
    """
    per_push = _per_push(session, since)
    pushed = {
        row[0]: (row[1], int(row[2]))
        for row in session.execute(
            select(per_push.c.day, func.count(), func.sum(per_push.c.changesets)).group_by(
                per_push.c.day
            )
        )
    }
    each = (
        select((bundles.c.created // DAY).label('day'), bundles.c.size)
        .where(*_live(session), bundles.c.created >= since)
        .subquery()
    )
    kept = {
        row[0]: (row[1], int(row[2]))
        for row in session.execute(
            select(each.c.day, func.count(), func.sum(each.c.size)).group_by(each.c.day)
        )
    }
    return [
        Day(day, *pushed.get(day, (0, 0)), *kept.get(day, (0, 0)))
        for day in sorted({*pushed, *kept})
    ]


def by_user(session: Session, since: int, limit: int) -> list[User]:
    """Return the users with the most pushes since ``since``, in seconds since the epoch."""
    per_push = _per_push(session, since)
    query = (
        select(per_push.c.user, func.count(), func.sum(per_push.c.changesets))
        .group_by(per_push.c.user)
        .order_by(func.count().desc(), per_push.c.user)
        .limit(limit)
    )
    return [User(row[0], row[1], int(row[2])) for row in session.execute(query)]


def by_age(session: Session, now: int, ages: Sequence[int]) -> list[Ages]:
    """Return the live bundles grouped by ``ages``, which are in seconds, ascending.

    The first group is younger than the first age; the last is at least as old as the last one.
    """
    place = case(
        *((bundles.c.created > now - age, number) for number, age in enumerate(ages)),
        else_=len(ages),
    )
    each = select(place.label('place'), bundles.c.size).where(*_live(session)).subquery()
    query = select(each.c.place, func.count(), func.sum(each.c.size)).group_by(each.c.place)
    found = {row[0]: Ages(row[1], int(row[2])) for row in session.execute(query)}
    return [found.get(number, Ages(0, 0)) for number in range(len(ages) + 1)]


def by_repository(session: Session) -> list[Repository]:
    """Return all repositories of the database, sorted by name."""
    stored = (
        select(
            bundles.c.repository_id,
            func.count().label('number'),
            func.sum(bundles.c.size).label('bytes'),
        )
        .group_by(bundles.c.repository_id)
        .subquery()
    )
    last_push = (
        select(pushes.c.date)
        .where(
            pushes.c.repository_id == repositories.c.id,
            pushes.c.push_id == repositories.c.last_push_id,
        )
        .scalar_subquery()
    )
    query = (
        select(
            repositories.c.name,
            repositories.c.last_push_id,
            last_push.label('last_push'),
            stored.c.number,
            stored.c.bytes,
        )
        .outerjoin(stored, stored.c.repository_id == repositories.c.id)
        .where(repositories.c.dropped.is_(None))
        .order_by(repositories.c.name)
    )
    return [
        Repository(row.name, row.last_push_id, row.last_push, row.number or 0, int(row.bytes or 0))
        for row in session.execute(query)
    ]
