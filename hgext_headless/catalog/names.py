"""Resolve names of drafts, also of those that are gone: hashes, prefixes, bookmarks, branches."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy
from sqlalchemy import literal, select, union_all

from ..model import Drafts, Tombstone
from . import bans, bookmarks, drafts, pushlog
from .schema import audit, changesets, push_branches, push_changesets, pushes, tombstones
from .statements import Session, batches

_WHOLE = re.compile(rb'[0-9a-fA-F]{40}\Z')
#: A hash, or a prefix of one that is long enough not to be mistaken for another name.
_LONG_PREFIX = re.compile(rb'[0-9a-fA-F]{7,40}\Z')
#: What is said of a draft that is gone, by the action of the row that explains it.
_WENT: dict[str | None, str] = {bans.OBLITERATE: 'was removed', bans.LOST: 'was lost'}
#: Number of pushes in which to look for the tip of a branch: drafts of the newest may be gone.
_PUSHES = 50


def named(session: Session, name: bytes) -> tuple[bytes, ...]:
    """Return the drafts that ``name``, a hash, a prefix, a bookmark or a branch, stands for.

    Return two if it is ambiguous.
    """
    return all_named(session, [name])[name]


def all_named(session: Session, names: Collection[bytes]) -> dict[bytes, tuple[bytes, ...]]:
    """Do what `named` does for several names, with as many queries as for one."""
    hashes = [name for name in names if re.fullmatch(rb'[0-9a-fA-F]{1,40}', name)]
    found = _each(
        session,
        {name: drafts.with_prefix(session, name.decode('ascii')).limit(2) for name in hashes},
    )
    others = [name for name in names if name not in found and len(name) != 40]
    marked = bookmarks.places(session, others)
    found.update((name, (node,)) for name, node in marked.items())
    branches = {name: _branch_tip(session, name) for name in others if name not in marked}
    found.update(_each(session, branches))
    return {name: found.get(name, ()) for name in names}


def _each(
    session: Session, queries: Mapping[bytes, sqlalchemy.Select[Any]]
) -> dict[bytes, tuple[bytes, ...]]:
    """Return the nodes that each of ``queries`` finds, by name; no names that find none."""
    found: dict[bytes, tuple[bytes, ...]] = {}
    for batch in batches(list(queries)):
        subqueries = (queries[name].subquery() for name in batch)
        numbered = [select(literal(i), query.c.node) for i, query in enumerate(subqueries)]
        for number, node in session.execute(union_all(*numbered)):
            found[batch[number]] = (*found.get(batch[number], ()), node)
    return found


def _branch_tip(session: Session, branch: bytes) -> sqlalchemy.Select[Any]:
    """Return the query for the newest draft on a branch, to whose tip Mercurial resolves it."""
    newest = (
        select(push_branches.c.push_id)
        .where(session.mine(push_branches), push_branches.c.branch == branch)
        .order_by(push_branches.c.push_id.desc())
        .limit(_PUSHES)
    )
    return (
        select(changesets.c.node)
        .join(push_changesets, push_changesets.c.changeset_id == changesets.c.id)
        .where(
            session.mine(push_changesets),
            push_changesets.c.push_id.in_(newest.scalar_subquery()),
            changesets.c.branch == branch,
            drafts.is_stored(),
        )
        .order_by(push_changesets.c.push_id.desc(), push_changesets.c.position.desc())
        .limit(1)
    )


def drafts_named(session: Session, names: Collection[bytes]) -> Drafts:
    """Return what the page of a draft needs. Pushes have no first and last changeset."""
    whole = {name: bytes.fromhex(name.decode()) for name in names if _WHOLE.match(name)}
    nodes = all_named(session, [name for name in names if name not in whole])
    single = {found[0] for found in nodes.values() if len(found) == 1}
    single.update(whole.values())
    bundles = drafts.bundles_holding(session, single)
    for name, node in whole.items():
        nodes[name] = (node,) if node in bundles else ()
    brought = pushlog.brought(session, bundles, with_ends=False)
    nameless = [name for name, found in nodes.items() if not found]
    held = {node for bundle in bundles.values() for node in bundle.nodes}
    marked = bookmarks.by_node(session, held)
    return Drafts(nodes, bundles, brought, _expired(session, nameless), marked)


def _expired(session: Session, names: Collection[bytes]) -> frozenset[bytes]:
    """Return those of ``names`` that stand for a changeset that is gone: see `gone`."""
    queries = {name: _gone_as(session, name) for name in names if _LONG_PREFIX.match(name)}
    found = _each(session, queries)
    return frozenset(name for name, nodes in found.items() if len(nodes) == 1)


def _gone_as(session: Session, prefix: bytes) -> sqlalchemy.Select[Any]:
    """Return the query for changesets that are gone whose hashes begin so, or for two of them."""
    is_named = drafts.has_prefix(tombstones.c.node, prefix.decode('ascii'))
    named = select(tombstones.c.node).where(session.mine(tombstones), is_named)
    return named.distinct().limit(2)


def known(session: Session, hashes: Collection[bytes]) -> set[bytes]:
    """Return those of ``hashes``, whole or long prefixes, that name a draft, stored or gone."""
    stored = {name: drafts.with_prefix(session, name.decode('ascii')) for name in hashes}
    found = _each(session, {name: query.limit(1) for name, query in stored.items()}).keys()
    return found | _expired(session, [name for name in hashes if name not in found])


def gone(session: Session, name: bytes) -> Tombstone | None:
    """Return the changeset that is gone whose hash, or a long unique prefix of it, is ``name``.

    Its push is the latest one that brought it.
    """
    if not _LONG_PREFIX.match(name):
        return None
    nodes = session.scalars(_gone_as(session, name)).all()
    if len(nodes) != 1:
        return None
    query = (
        select(
            tombstones.c.node,
            bans.WENT,
            audit.c.action,
            pushes.c.push_id,
            pushes.c.date,
        )
        .join(pushes)
        .outerjoin(audit, bans.EXPLAINS)
        .where(session.mine(tombstones), tombstones.c.node == nodes[0])
        .order_by(pushes.c.push_id.desc(), audit.c.action.desc())
        .limit(1)
    )
    row = session.execute(query).first()
    return row and Tombstone(row.node, row.push_id, row.date, row.gone, row.action)


def fate(session: Session, tombstone: Tombstone) -> str:
    """Return in words which push brought a changeset that is gone, and when and how it went."""
    if not tombstone.action and tombstone.push_id <= pushlog.imported_push_id(session):
        went = 'is kept no longer'
    elif tombstone.gone is not None:
        went = f'{_WENT.get(tombstone.action, "expired")} on {_day(tombstone.gone)}'
    else:
        went = 'has expired'
    return f'push {tombstone.push_id} brought it on {_day(tombstone.pushed)}, and it {went}'


def _day(seconds: int) -> str:
    return time.strftime('%Y-%m-%d', time.gmtime(seconds))
