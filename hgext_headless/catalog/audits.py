"""What `admin::headless-verify` asks: do the rows agree with each other?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import func, insert, select, update

from .batching import BATCH
from .reads import repository_id
from .schema import (
    bundle_changesets,
    changesets,
    push_branches,
    push_changesets,
    pushes,
    repositories,
)

#: Pushes that one question is about.
STEP = 1000


class Counter(NamedTuple):
    """Of `schema.repositories`, with the highest id that a push has."""

    last_push_id: int
    imported_push_id: int
    highest: int


def counter(connection: sqlalchemy.Connection, repository: str) -> Counter:
    query = select(
        repositories.c.last_push_id,
        repositories.c.imported_push_id,
        select(func.max(pushes.c.push_id))
        .where(pushes.c.repository_id == repositories.c.id)
        .scalar_subquery(),
    ).where(repositories.c.name == repository)
    row = connection.execute(query).first()
    return Counter(0, 0, 0) if row is None else Counter(row[0], row[1], row[2] or 0)


def set_counter(connection: sqlalchemy.Connection, repository: str, last: int) -> None:
    """Raise the counter of push ids to ``last``, if it is lower."""
    connection.execute(
        update(repositories)
        .where(repositories.c.name == repository, repositories.c.last_push_id < last)
        .values(last_push_id=last)
    )


def first_push_since(connection: sqlalchemy.Connection, repository: str, since: float) -> int:
    """The lowest id of a push with that date or a later one; above all ids without any."""
    query = select(func.min(pushes.c.push_id)).where(
        pushes.c.repository_id == repository_id(repository), pushes.c.date >= since
    )
    found: int | None = connection.scalar(query)
    return 2**62 if found is None else found


def push_ids(connection: sqlalchemy.Connection, repository: str, after: int) -> list[int]:
    """The next ids that pushes have, in order."""
    query = select(pushes.c.push_id).where(
        pushes.c.repository_id == repository_id(repository), pushes.c.push_id > after
    )
    return list(connection.scalars(query.order_by(pushes.c.push_id).limit(STEP)))


def without_bundle(
    connection: sqlalchemy.Connection, repository: str, low: int, high: int
) -> list[tuple[int, bytes]]:
    """What the pushes from ``low`` to ``high`` brought and no bundle holds, so that it must
    be public: push id and node."""
    query = (
        select(push_changesets.c.push_id, changesets.c.node)
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(
            push_changesets.c.repository_id == repository_id(repository),
            push_changesets.c.push_id.between(low, high),
            ~select(bundle_changesets.c.bundle_id)
            .where(bundle_changesets.c.changeset_id == changesets.c.id)
            .exists(),
        )
    )
    return [(row.push_id, bytes(row.node)) for row in connection.execute(query)]


def missing_branches(
    connection: sqlalchemy.Connection, repository: str, low: int, high: int
) -> list[tuple[int, bytes]]:
    """Pairs of push id and branch that `schema.push_branches` lacks."""
    query = (
        select(push_changesets.c.push_id, changesets.c.branch)
        .distinct()
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(
            push_changesets.c.repository_id == repository_id(repository),
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
    return [(row.push_id, bytes(row.branch)) for row in connection.execute(query)]


def add_branches(
    connection: sqlalchemy.Connection, repository: str, missing: Sequence[tuple[int, bytes]]
) -> None:
    """Add rows that `missing_branches` has found."""
    owner = connection.scalar(select(repository_id(repository)))
    for start in range(0, len(missing), BATCH):
        connection.execute(
            insert(push_branches),
            [
                {'repository_id': owner, 'push_id': push_id, 'branch': branch}
                for push_id, branch in missing[start : start + BATCH]
            ],
        )
