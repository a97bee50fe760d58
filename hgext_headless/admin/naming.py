"""Naming drafts on the command line: by revsets over public history and some bundles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mercurial import revsetlang, scmutil
from mercurial.node import hex

from .. import hgcompat
from ..bundles import overlay as overlays
from ..model import Bundle, Refused
from ..site import Site


def drafts_named(
    repo: Any, site: Site, revs: Sequence[bytes], beside: Iterable[Bundle] = ()
) -> list[bytes]:
    """The drafts that revsets name, parents first. They see public history, and the
    drafts in the bundles ``beside`` and in those that hold a draft which is named in them.

    Raises `Refused` where a name is ambiguous, or none is a draft's and there is nothing
    beside; and what Mercurial raises for a revset that it can't make sense of.
    """
    symbols = {name for rev in revs for name in _symbols(revsetlang.parse(rev))}
    drafts = site.catalog.drafts({*symbols, *revs})
    for name, nodes in drafts.nodes.items():
        if len(nodes) > 1:
            raise Refused(f'"{hgcompat.escaped(name)}" is ambiguous')
    found = {name: nodes[0] for name, nodes in drafts.nodes.items() if nodes}
    bundles = {bundle.key: bundle for bundle in (*beside, *drafts.bundles.values())}
    if not bundles:
        raise Refused(f'no stored draft is named in "{hgcompat.escaped(revs[0])}"')
    named = [hex(found[rev]) if rev in found else rev for rev in revs]
    # Mercurial knows no bookmark of the database, and would not look for an alias of a hash.
    aliases = {
        name: hex(node) for name, node in found.items() if not hex(node).startswith(name)
    }
    has_node = repo.unfiltered().changelog.hasnode
    with overlays.opened(repo, site.source, list(bundles.values())) as overlay:
        revisions = scmutil.revrange(overlay, named, localalias=aliases)
        named_nodes = map(overlay.changelog.node, sorted(revisions))
        return [node for node in named_nodes if not has_node(node)]


def _symbols(tree: Any) -> Iterator[bytes]:
    """The names in a parsed revset; functions' names do no harm."""
    if isinstance(tree, tuple):
        if tree and tree[0] in (b'symbol', b'string'):
            yield tree[1]
        for part in tree[1:]:
            yield from _symbols(part)
