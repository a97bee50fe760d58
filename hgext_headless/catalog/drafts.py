"""Find drafts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy
from sqlalchemy import delete, select

from ..model import Bundle, Parents
from . import bundle_rows
from .schema import LIVE, bundle_changesets, bundles, changesets, draft_roots
from .statements import Session, present, put, rows

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


def has_prefix(node: Any, prefix: str) -> sqlalchemy.ColumnElement[bool]:
    """Return the condition that a column's hexadecimal form begins with ``prefix``."""
    return node.between(bytes.fromhex(prefix.ljust(40, '0')), bytes.fromhex(prefix.ljust(40, 'f')))


def with_prefix(session: Session, prefix: str) -> sqlalchemy.Select[Any]:
    """Return the query for the stored drafts whose hexadecimal node begins with ``prefix``."""
    node = changesets.c.node
    found = select(node).where(session.mine(changesets), has_prefix(node, prefix), is_stored())
    return found.order_by(node)


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
    query = select(*_PARENTS).where(session.mine(changesets), *conditions)
    found = rows(session, query, changesets.c.node, nodes)
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
        by_id = {row.id: row for row in newest(session, missing)}
        for _id, row in sorted(by_id.items(), reverse=True):
            if row.node in missing:
                bundle = _bundle(session, row)
                held = missing.intersection(bundle.nodes)
                found.update(dict.fromkeys(held, bundle))
                missing -= held
    return found


def objects_with(session: Session, nodes: Iterable[bytes]) -> dict[bytes, tuple[str, int]]:
    """Return key and size of the object of each bundle that `bundles_with` returns."""
    missing = set(nodes)
    found: dict[bytes, tuple[str, int]] = {}
    for newest in (_newest_with_head, _newest_holding):
        chosen = newest(session, missing - found.keys())
        found.update((row.node, (row.key, row.size)) for row in chosen)
    return found


def bundles_holding(session: Session, nodes: Iterable[bytes]) -> dict[bytes, Bundle]:
    """Return, for those of ``nodes`` that are stored drafts, the newest live bundle with each.

    It has the children of the draft too, if there are any.
    """
    found = list(_newest_holding(session, nodes))
    made = {number: _bundle(session, row) for number, row in {r.id: r for r in found}.items()}
    return {row.node: made[row.id] for row in found}


def _newest_with_head(session: Session, nodes: Iterable[bytes]) -> Iterable[Any]:
    """Return rows of `bundles`, each with one of ``nodes`` as ``node``."""
    query = select(bundles.c.head.label('node'), bundles).where(*bundle_rows.live(session))
    found = rows(session, query.order_by(bundles.c.id), bundles.c.head, nodes)
    return {row.node: row for row in found}.values()


def _newest_holding(session: Session, nodes: Iterable[bytes]) -> Iterable[Any]:
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
        .where(session.mine(changesets))
    )
    return rows(session, query, changesets.c.node, nodes)


def in_live_bundles(session: Session, *columns: Any) -> sqlalchemy.Select[Any]:
    """Return a query of ``columns`` for changesets that are in live bundles.

    The columns are those of changesets, of bundles, and of `schema.bundle_changesets`.
    """
    return (
        select(*columns)
        .select_from(changesets)
        .join(bundle_changesets, bundle_changesets.c.changeset_id == changesets.c.id)
        .join(bundles, bundles.c.id == bundle_changesets.c.bundle_id)
        .where(session.mine(changesets), bundles.c.state == LIVE)
    )


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


def record_roots(session: Session, changeset_ids: Iterable[int]) -> None:
    """Record the roots of a push; delete old ones. The repository's row must be locked."""
    recorded = [{'repository_id': session.owner, 'changeset_id': one} for one in changeset_ids]
    if recorded:
        put(session, draft_roots, recorded, pushed=session.clock)
        is_old = draft_roots.c.pushed < session.clock - KEPT
        session.execute(delete(draft_roots).where(session.mine(draft_roots), is_old))


def recent_roots(session: Session, limit: int) -> list[Parents]:
    """Return the newest roots, ``limit`` at most."""
    query = (
        select(*_PARENTS)
        .join(draft_roots, draft_roots.c.changeset_id == changesets.c.id)
        .where(session.mine(draft_roots))
        .order_by(draft_roots.c.pushed.desc(), draft_roots.c.changeset_id.desc())
        .limit(limit)
    )
    return [Parents(*row) for row in session.execute(query)]


def stacks(session: Session, nodes: Iterable[bytes]) -> list[Parents]:
    """Return all changesets of the live bundles that hold one of ``nodes``."""
    named, holding = changesets.alias(), bundle_changesets.alias()
    query = (
        select(*_PARENTS)
        .join(bundle_changesets, bundle_changesets.c.changeset_id == changesets.c.id)
        .join(bundles, bundles.c.id == bundle_changesets.c.bundle_id)
        .join(holding, holding.c.bundle_id == bundles.c.id)
        .join(named, named.c.id == holding.c.changeset_id)
        .where(session.mine(named), bundles.c.state == LIVE)
    )
    found = rows(session, query, named.c.node, nodes)
    return list({row.node: Parents(*row) for row in found}.values())
