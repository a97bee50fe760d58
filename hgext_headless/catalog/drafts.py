"""Find drafts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import case, delete, func, select

from ..model import Bundle, Parents
from . import bundle_rows
from .schema import LIVE, bundle_changesets, bundles, changesets, draft_roots
from .statements import Session, batches, clock, present, rows, upsert

_PARENTS = changesets.c.node, changesets.c.p1, changesets.c.p2


def is_stored() -> sqlalchemy.Exists:
    """Return the condition that a changeset is in a live bundle: only then is it known."""
    return (
        select(bundle_changesets.c.bundle_id)
        .join(bundles, bundles.c.id == bundle_changesets.c.bundle_id)
        .where(bundle_changesets.c.changeset_id == changesets.c.id, bundles.c.state == LIVE)
        .exists()
    )


def known(session: Session, nodes: Iterable[bytes]) -> set[bytes]:
    """Return those of ``nodes`` that are stored drafts."""
    return present(session, changesets.c.node, nodes, is_stored())


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """Return the lowest and the highest node whose hexadecimal form begins with ``prefix``."""
    return bytes.fromhex(prefix.ljust(40, '0')), bytes.fromhex(prefix.ljust(40, 'f'))


def with_prefix(session: Session, prefix: str) -> sqlalchemy.Select[Any]:
    """Return the query for the stored drafts whose hexadecimal node begins with ``prefix``."""
    low, high = prefix_range(prefix)
    return (
        select(changesets.c.node)
        .where(
            changesets.c.repository_id == session.repository_id,
            changesets.c.node.between(low, high),
            is_stored(),
        )
        .order_by(changesets.c.node)
    )


def heads(session: Session, nodes: Iterable[bytes]) -> list[bytes]:
    """Return those of ``nodes`` that are stored drafts and a parent of none of the others.

    Bundles that hold these hold all.
    """
    found = parents(session, nodes, is_stored())
    inner = {parent for both in found.values() for parent in both}
    return [node for node in found if node not in inner]


def parents(
    session: Session, nodes: Iterable[bytes], *conditions: Any
) -> dict[bytes, tuple[bytes, bytes]]:
    """Return the parents of those of ``nodes`` that have a row that fulfils all ``conditions``."""
    mine = changesets.c.repository_id == session.repository_id
    found = rows(
        session,
        nodes,
        lambda batch: select(*_PARENTS).where(mine, changesets.c.node.in_(batch), *conditions),
    )
    return {row.node: (row.p1, row.p2) for row in found}


def bundles_with(session: Session, nodes: Iterable[bytes]) -> dict[bytes, Bundle]:
    """Return, for those of ``nodes`` that are stored drafts, a live bundle with the draft.

    For one node, it is the newest bundle with this head or, if there is none, the newest that
    holds it. A bundle that does so for one node is returned for all ``nodes`` that it holds, so
    that a stack needs one bundle, however many of its changesets are named.
    """
    missing = set(nodes)
    found: dict[bytes, Bundle] = {}
    for newest in (_newest_with_head, _newest_holding):
        by_id = {r.id: r for batch in batches(sorted(missing)) for r in newest(session, batch)}
        for _id, row in sorted(by_id.items(), reverse=True):
            if row.node in missing:
                bundle = _bundle(session, row)
                held = missing.intersection(bundle.nodes)
                found.update(dict.fromkeys(held, bundle))
                missing -= held
    return found


def objects_with(session: Session, nodes: Iterable[bytes]) -> dict[bytes, tuple[str, int]]:
    """Return key and size of the object of each bundle that `bundles_with` returns."""
    as_head = func.max(case((bundle_changesets.c.is_head, bundles.c.id)))
    found = _chosen(session, nodes, func.coalesce(as_head, func.max(bundles.c.id)))
    return {row.node: (row.key, row.size) for row in found}


def bundles_holding(session: Session, nodes: Iterable[bytes]) -> dict[bytes, Bundle]:
    """Return, for those of ``nodes`` that are stored drafts, the newest live bundle with each.

    It has the children of the draft too, if there are any.
    """
    found: dict[bytes, Bundle] = {}
    made: dict[int, Bundle] = {}
    for row in list(_chosen(session, nodes, func.max(bundles.c.id))):
        if row.id not in made:
            made[row.id] = _bundle(session, row)
        found[row.node] = made[row.id]
    return found


def _newest_with_head(session: Session, nodes: Sequence[bytes]) -> Iterable[sqlalchemy.Row[Any]]:
    """Return rows of `bundles`, each with one of ``nodes`` as ``node``."""
    query = (
        select(bundles.c.head.label('node'), bundles)
        .where(
            bundles.c.repository_id == session.repository_id,
            bundles.c.head.in_(nodes),
            bundles.c.state == LIVE,
        )
        .order_by(bundles.c.id)
    )
    return {row.node: row for row in session.execute(query)}.values()


def _newest_holding(session: Session, nodes: Sequence[bytes]) -> Iterable[sqlalchemy.Row[Any]]:
    """Return what `_newest_with_head` returns, whatever the heads of the bundles are."""
    # Each step of a growing stack has stored it again: read one of them for each node.
    newest = (
        select(bundle_changesets.c.bundle_id)
        .join(bundles, bundles.c.id == bundle_changesets.c.bundle_id)
        .where(bundle_changesets.c.changeset_id == changesets.c.id, bundles.c.state == LIVE)
        .order_by(bundle_changesets.c.bundle_id.desc())
        .limit(1)
        .correlate(changesets)
        .scalar_subquery()
    )
    query = (
        select(changesets.c.node, bundles)
        .select_from(changesets)
        .join(bundles, bundles.c.id == newest)
        .where(changesets.c.repository_id == session.repository_id, changesets.c.node.in_(nodes))
    )
    return session.execute(query)


def in_live_bundles(
    session: Session, nodes: Sequence[bytes], *columns: Any
) -> sqlalchemy.Select[Any]:
    """Return a query of ``columns`` for ``nodes`` that are in live bundles.

    The columns are those of changesets, of bundles, and of `schema.bundle_changesets`.
    """
    return (
        select(*columns)
        .select_from(changesets)
        .join(bundle_changesets, bundle_changesets.c.changeset_id == changesets.c.id)
        .join(bundles, bundles.c.id == bundle_changesets.c.bundle_id)
        .where(
            changesets.c.repository_id == session.repository_id,
            changesets.c.node.in_(nodes),
            bundles.c.state == LIVE,
        )
    )


def _chosen(session: Session, nodes: Iterable[bytes], chosen: Any) -> Iterator[Any]:
    """Yield rows of `bundles`: those whose id is ``chosen`` of all that hold each ``node``."""

    def query(batch: Sequence[bytes]) -> sqlalchemy.Select[Any]:
        held = in_live_bundles(session, batch, changesets.c.node, chosen.label('bundle_id'))
        of_node = held.group_by(changesets.c.node).subquery()
        return select(of_node.c.node, bundles).join(of_node, bundles.c.id == of_node.c.bundle_id)

    return rows(session, nodes, query)


def _bundle(session: Session, row: Any) -> Bundle:
    query = (
        select(changesets.c.node)
        .join(bundle_changesets, bundle_changesets.c.changeset_id == changesets.c.id)
        .where(bundle_changesets.c.bundle_id == row.id)
        .order_by(bundle_changesets.c.position)
    )
    return bundle_rows.bundle(row, list(session.scalars(query)))


#: Minimum time in seconds to keep a root. A client asks within seconds of its push.
KEPT = 3600


def record_roots(
    connection: sqlalchemy.Connection, owner: int, changeset_ids: Sequence[int]
) -> None:
    """Record the roots of a push; delete old ones. The repository's row must be locked."""
    if not changeset_ids:
        return
    now = clock(connection)
    for batch in batches(changeset_ids):
        statement = upsert(connection, draft_roots).values(
            [{'repository_id': owner, 'changeset_id': one, 'pushed': now} for one in batch]
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[draft_roots.c.changeset_id],
                set_={'pushed': statement.excluded.pushed},
            )
        )
    connection.execute(
        delete(draft_roots).where(
            draft_roots.c.repository_id == owner, draft_roots.c.pushed < now - KEPT
        )
    )


def recent_roots(session: Session, limit: int) -> list[Parents]:
    """Return the newest roots, ``limit`` at most."""
    query = (
        select(*_PARENTS)
        .join(draft_roots, draft_roots.c.changeset_id == changesets.c.id)
        .where(draft_roots.c.repository_id == session.repository_id)
        .order_by(draft_roots.c.pushed.desc(), draft_roots.c.changeset_id.desc())
        .limit(limit)
    )
    return [Parents(*row) for row in session.execute(query)]


def stacks(session: Session, nodes: Iterable[bytes]) -> list[Parents]:
    """Return all changesets of the live bundles that hold one of ``nodes``."""

    def query(batch: Sequence[bytes]) -> sqlalchemy.Select[Any]:
        holding = in_live_bundles(session, batch, bundle_changesets.c.bundle_id)
        return (
            select(*_PARENTS)
            .join(bundle_changesets, bundle_changesets.c.changeset_id == changesets.c.id)
            .where(bundle_changesets.c.bundle_id.in_(holding))
        )

    return list({row.node: Parents(*row) for row in rows(session, nodes, query)}.values())
