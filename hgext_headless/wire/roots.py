"""Which draft roots ``listkeys phases`` names.

At the end of a push a client asks for them, and turns public what it pushed and what has
none of them among its ancestors. Over http that request may reach another process than
the push: so the roots of all recent pushes are named, from the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from mercurial.node import hex, nullid

from ..backend import Backend
from ..model import Parents

if TYPE_CHECKING:
    from ..catalog.catalog import Questions

#: Roots that are named one by one.
LIMIT = 300
#: Roots that are looked at.
_MOST = 5000
_DRAFT = b'1'


def named(backend: Backend, repo: Any) -> dict[bytes, bytes]:
    """The keys for the drafts of recent pushes: each has one under it, or is one.

    Raises `errors.Temporary` and `errors.Misconfigured`: a client that is not told would
    publish what it pushed. Where the catalog was never opened no push can have come in:
    a process that serves one client over ssh, or by path, asks nothing before its push.
    """
    if b'REQUEST_METHOD' not in repo.ui.environ and not backend.is_opened():
        return {}
    with backend.catalog.reading() as session:
        return _named(session, repo)


def _named(session: Questions, repo: Any) -> dict[bytes, bytes]:
    recent = session.recent_roots(_MOST + 1)
    if len(recent) > _MOST:
        return {hex(nullid): _DRAFT}
    has_node = repo.unfiltered().changelog.hasnode
    found = {root.node: root for root in recent if not has_node(root.node)}
    published = [root.node for root in recent if has_node(root.node)]
    if published:
        # Its draft children are roots by now.
        found.update((root.node, root) for root in of(session.stacks(published), has_node))
    return {hex(node): _DRAFT for node in _bounded(repo.unfiltered(), list(found.values()))}


def of(changesets: Iterable[Parents], is_public: Callable[[bytes], bool]) -> list[Parents]:
    """The roots of some changesets, but for those that are public."""
    drafts = {c.node: c for c in changesets if not is_public(c.node)}
    return [c for c in drafts.values() if c.p1 not in drafts and c.p2 not in drafts]


def are_named(backend: Backend, repo: Any, nodes: Iterable[bytes]) -> bool:
    """Whether some stored drafts stay drafts to a client that learns of their phase from
    ``listkeys`` alone (bundle1)."""
    with backend.catalog.reading() as session:
        keys = _named(session, repo)
        found = of(session.stacks(nodes), repo.unfiltered().changelog.hasnode)
    return hex(nullid) in keys or all(hex(root.node) in keys for root in found)


def _bounded(repo: Any, roots: list[Parents]) -> Iterable[bytes]:
    """Nodes of roots; where there are too many, of most of them, and of one public
    changeset under all others, as near to the tip as can be."""
    if len(roots) <= LIMIT:
        return [root.node for root in roots]
    get_rev = repo.changelog.index.get_rev
    bases = {root.node: get_rev(root.p1) if root.p1 != nullid else None for root in roots}
    # Without a base that this server has, a root can only be named itself.
    roots.sort(key=lambda root: (bases[root.node] is not None, bases[root.node] or 0))
    exact = [root.node for root in roots[:LIMIT]]
    others = [bases[root.node] for root in roots[LIMIT:]]
    under = None if None in others else repo.revs(b'ancestor(%ld)', others).first()
    return [nullid] if under is None else [*exact, repo.changelog.node(under)]
