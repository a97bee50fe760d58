"""Which draft roots ``listkeys phases`` names.

At the end of a push, the client asks for draft roots, and publishes pushed changesets that have
no root among their ancestors. Over http, this request may reach another process than the push
did. So the answer names the roots of all recent pushes, from the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mercurial.node import hex, nullid

from ..catalog import drafts as catalog_roots, statements
from ..model import Parents

#: Maximum number of roots that are named individually.
LIMIT = 300
#: Maximum number of roots that are read.
_MOST = 5000
_DRAFT = b'1'


def named(repo: Any) -> dict[bytes, bytes]:
    """Return the ``phases`` keys of draft roots of recent pushes.

    Each draft of these pushes is a root, or has one among its ancestors. Raise
    `errors.Temporary` and `errors.Misconfigured`: after an empty answer, the client would
    publish what it pushed. Over ssh, or by path, a process serves one client: without a query,
    return the roots of what this process has taken from it. But if it has sent drafts to the
    client, that may want to know of those.
    """
    backend = repo.headless
    if b'REQUEST_METHOD' not in repo.ui.environ and not backend.has_sent_drafts:
        has_node = repo.unfiltered().changelog.hasnode
        roots = backend.pushed_roots
        if len(roots) <= LIMIT and not any(map(has_node, roots)):
            return {hex(node): _DRAFT for node in roots}
    with backend.catalog.reading() as session:
        return _named(session, repo)


def _named(session: statements.Session, repo: Any) -> dict[bytes, bytes]:
    recent = catalog_roots.recent_roots(session, _MOST + 1)
    if len(recent) > _MOST:
        return {hex(nullid): _DRAFT}
    has_node = repo.unfiltered().changelog.hasnode
    found = {root.node: root for root in recent if not has_node(root.node)}
    published = [root.node for root in recent if has_node(root.node)]
    if published:
        # The draft children of a root that is public now are roots.
        stacks = catalog_roots.stacks(session, published)
        found.update((root.node, root) for root in draft_roots(stacks, has_node))
    return {hex(node): _DRAFT for node in _bounded(repo.unfiltered(), list(found.values()))}


def draft_roots(changesets: Iterable[Parents], is_public: Callable[[bytes], bool]) -> list[Parents]:
    """Return the roots of those ``changesets`` that are not public."""
    drafts = {c.node: c for c in changesets if not is_public(c.node)}
    return [c for c in drafts.values() if c.p1 not in drafts and c.p2 not in drafts]


def are_named(repo: Any, nodes: Iterable[bytes]) -> bool:
    """Return whether stored drafts stay draft in a client without bundle2.

    Such a client learns phases from ``listkeys`` alone.
    """
    with repo.headless.catalog.reading() as session:
        keys = _named(session, repo)
        stacks = catalog_roots.stacks(session, nodes)
        found = draft_roots(stacks, repo.unfiltered().changelog.hasnode)
    return hex(nullid) in keys or all(hex(root.node) in keys for root in found)


def _bounded(repo: Any, roots: list[Parents]) -> Iterable[bytes]:
    """Return nodes to name for ``roots``.

    If there are more than `LIMIT`, return that many of them, and for the others one public
    changeset below all of them, as near to the tip as possible. If there is no such changeset,
    return the null revision.
    """
    if len(roots) <= LIMIT:
        return [root.node for root in roots]
    get_rev = repo.changelog.index.get_rev
    bases = {root.node: get_rev(root.p1) if root.p1 != nullid else None for root in roots}
    # A root whose base this server lacks can only be named itself, so it comes first.
    roots.sort(key=lambda root: (bases[root.node] is not None, bases[root.node] or 0))
    exact = [root.node for root in roots[:LIMIT]]
    others = [bases[root.node] for root in roots[LIMIT:]]
    below = None if None in others else repo.revs(b'ancestor(%ld)', others).first()
    return [nullid] if below is None else [*exact, repo.changelog.node(below)]
