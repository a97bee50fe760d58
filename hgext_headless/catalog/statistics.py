"""The numbers of `admin::headless-stats`. The database does all grouping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import BigInteger, case, cast, func, literal, select, union_all

from . import bundle_rows, pushlog
from .schema import (
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
    query = select(
        func.count(), _sum(pushes.c.listed), _sum(pushes.c.size), func.sum(pushes.c.seconds)
    ).where(session.mine(pushes), pushes.c.push_id > known.push_id, pushes.c.push_id <= last)
    count, listed, size, seconds = (number or 0 for number in session.execute(query).one())
    return Pushed(
        last,
        known.pushes + count,
        known.changesets + listed,
        known.bytes + size,
        known.seconds + seconds,
    )


def totals(session: Session) -> Totals:
    def counted(table: sqlalchemy.Table, *others: Any) -> Any:
        """Return the number of a table's rows, and other aggregates."""
        own = bundle_rows.live(session) if table is bundles else [session.mine(table)]
        query = select(func.count(), *others).select_from(table).where(*own)
        return session.execute(query).one()

    # Counting the changesets that have such a row would take many times as long.
    drafts = (
        select(func.count(bundle_changesets.c.changeset_id.distinct()))
        .join(bundles, bundles.c.id == bundle_changesets.c.bundle_id)
        .where(*bundle_rows.live(session))
    )
    last_push_id = select(repositories.c.last_push_id).where(
        repositories.c.id == session.repository_id
    )
    date, created = pushes.c.date, bundles.c.created
    gone = counted(tombstones)[0]
    number, first, last = counted(pushes, func.min(date), func.max(date))
    kept = counted(bundles, _sum(bundles.c.size), func.min(created), func.max(created))
    return Totals(
        pushes=number,
        changesets=counted(push_changesets)[0] + gone,
        tombstones=gone,
        drafts=session.scalar(drafts) or 0,
        bundles=kept[0],
        bytes=kept[1] or 0,
        bookmarks=counted(bookmarks)[0],
        markers=counted(markers)[0],
        last_push_id=session.scalar(last_push_id) or 0,
        first_push=first,
        last_push=last,
        oldest_bundle=kept[2],
        newest_bundle=kept[3],
    )


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
        .where(session.mine(pushes), pushes.c.date >= since)
        .subquery()
    )


def by_day(session: Session, since: int) -> Sequence[Any]:
    """Return the days since ``since`` on which anything was pushed or stored.

    ``since`` is in seconds since the epoch, ``day`` in days since then, in UTC. ``bundles`` and
    ``bytes`` are what was stored on that day and is still there.
    """
    none, one = literal(0), literal(1)
    per_push = _per_push(session, since)
    pushed = select(
        per_push.c.day,
        one.label('pushes'),
        per_push.c.changesets,
        none.label('bundles'),
        none.label('bytes'),
    )
    stored = select(bundles.c.created // DAY, none, none, one, bundles.c.size)
    each = union_all(pushed, stored.where(*bundle_rows.live(session, since))).subquery()
    day, *counted = each.c
    sums = [_sum(column).label(column.name) for column in counted]
    return session.execute(select(day, *sums).group_by(day).order_by(day)).all()


def _sum(column: Any) -> sqlalchemy.ColumnElement[int]:
    return cast(func.sum(column), BigInteger)  # for Postgres, it is a decimal number


def by_user(session: Session, since: int, limit: int) -> Sequence[Any]:
    """Return the users with the most pushes since ``since``, in seconds since the epoch.

    Each is ``user`` with the numbers of ``pushes`` and ``changesets``.
    """
    per_push = _per_push(session, since)
    number = func.count().label('pushes')
    query = (
        select(per_push.c.user, number, _sum(per_push.c.changesets).label('changesets'))
        .group_by(per_push.c.user)
        .order_by(number.desc(), per_push.c.user)
        .limit(limit)
    )
    return session.execute(query).all()


def by_age(session: Session, now: int, ages: Sequence[int]) -> list[Ages]:
    """Return the live bundles grouped by ``ages``, which are in seconds, ascending.

    The first group is younger than the first age; the last is at least as old as the last one.
    """
    place = case(
        *((bundles.c.created > now - age, number) for number, age in enumerate(ages)),
        else_=len(ages),
    )
    each = select(place.label('place'), bundles.c.size).where(*bundle_rows.live(session))
    group = each.subquery().c
    query = select(group.place, func.count(), _sum(group.size)).group_by(group.place)
    found = {number: Ages(*sums) for number, *sums in session.execute(query)}
    return [found.get(number, Ages(0, 0)) for number in range(len(ages) + 1)]


def by_repository(session: Session) -> Sequence[Any]:
    """Return all repositories of the database, sorted by name.

    Each is ``name``, ``last_push_id``, ``last_push`` in seconds since the epoch (None if there is
    none), the number of ``objects`` and their size in ``bytes``.
    """
    stored = (
        select(
            bundles.c.repository_id,
            func.count().label('number'),
            _sum(bundles.c.size).label('bytes'),
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
            func.coalesce(stored.c.number, 0).label('objects'),
            func.coalesce(stored.c.bytes, 0).label('bytes'),
        )
        .outerjoin(stored, stored.c.repository_id == repositories.c.id)
        .where(repositories.c.dropped.is_(None))
        .order_by(repositories.c.name)
    )
    return session.execute(query).all()
