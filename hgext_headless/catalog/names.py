"""Resolve names of drafts: hashes, prefixes, bookmarks and branches."""

from __future__ import annotations

import re
from collections.abc import Collection

from sqlalchemy import select

from ..model import Drafts
from . import bookmarks, drafts, pushlog
from .schema import changesets, push_branches, push_changesets
from .session import Session

_WHOLE = re.compile(rb'[0-9a-f]{40}\Z')
#: Number of pushes in which to look for the tip of a branch: drafts of the newest may be gone.
_PUSHES = 50


def named(session: Session, name: bytes) -> tuple[bytes, ...]:
    """Return the drafts that ``name``, a hash, a prefix, a bookmark or a branch, stands for.

    Return two if it is ambiguous.
    """
    if re.fullmatch(rb'[0-9a-f]{1,40}', name):
        found = drafts.with_prefix(session, name.decode('ascii'))
        if found:
            return found
    if len(name) == 40:
        return ()
    return tuple(bookmarks.places(session, [name]).values()) or _branch_tip(session, name)


def _branch_tip(session: Session, branch: bytes) -> tuple[bytes, ...]:
    """Return the newest draft on a branch: Mercurial resolves a branch's name to its tip."""
    newest = (
        select(push_branches.c.push_id)
        .where(
            push_branches.c.repository_id == session.repository_id,
            push_branches.c.branch == branch,
        )
        .order_by(push_branches.c.push_id.desc())
        .limit(_PUSHES)
    )
    query = (
        select(changesets.c.node)
        .join(push_changesets, push_changesets.c.changeset_id == changesets.c.id)
        .where(
            push_changesets.c.repository_id == session.repository_id,
            push_changesets.c.push_id.in_(newest.scalar_subquery()),
            changesets.c.branch == branch,
            drafts.is_stored(),
        )
        .order_by(push_changesets.c.push_id.desc(), push_changesets.c.position.desc())
    )
    return tuple(map(bytes, session.scalars(query.limit(1))))


def drafts_named(session: Session, names: Collection[bytes]) -> Drafts:
    """Return what the page of a draft needs. Pushes have no first and last changeset."""
    whole = {name: bytes.fromhex(name.decode()) for name in names if _WHOLE.match(name)}
    nodes = {name: named(session, name) for name in names if name not in whole}
    single = {found[0] for found in nodes.values() if len(found) == 1}
    single.update(whole.values())
    bundles = drafts.bundles_holding(session, single)
    for name, node in whole.items():
        nodes[name] = (node,) if node in bundles else ()
    brought = pushlog.brought(session, bundles, with_ends=False)
    nameless = [name for name, found in nodes.items() if not found]
    return Drafts(nodes, bundles, brought, pushlog.expired(session, nameless))
