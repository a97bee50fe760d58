"""Drafts named on the command line, by revsets over public history and bundles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mercurial import error, revsetlang, scmutil
from mercurial.node import hex

from .. import hgcompat
from ..backend import Backend
from ..bundles import overlay as overlays
from ..catalog import names as catalog_names
from ..errors import Refused
from ..model import Bundle

#: A prefix of a hash. Shorter ones may be numbers, or words.
_HASH = rb'[0-9a-f]{6,40}'
_NUMBER = rb'-?[0-9]{1,9}'


def drafts_named(
    repo: Any, backend: Backend, revs: Sequence[bytes], beside: Iterable[Bundle] = ()
) -> list[bytes]:
    """Return the drafts that the revsets ``revs`` name, parents first.

    The revsets see public history, the drafts in the bundles ``beside``, and those in bundles
    of drafts that they name. Raise `Refused` if a name is ambiguous, or no draft is named and
    ``beside`` is empty; and Mercurial's error for an invalid revset.
    """
    names = {name for rev in revs for name in _names(revsetlang.parse(rev))}
    whole = [rev for rev in revs if not re.fullmatch(_NUMBER, rev)]
    drafts = backend.catalog.read(catalog_names.drafts_named, {*names, *whole})
    for rev in whole:
        if len(drafts.nodes[rev]) > 1:
            raise Refused(f'"{hgcompat.escaped(rev)}" is ambiguous')
    found = {name: nodes[0] for name, nodes in drafts.nodes.items() if len(nodes) == 1}
    bundles = {bundle.key: bundle for bundle in (*beside, *drafts.bundles.values())}
    if not bundles:
        raise Refused(f'no stored draft is named in "{hgcompat.escaped(revs[0])}"')
    named = [hex(found[rev]) if rev in found else rev for rev in revs]
    # Mercurial does not know the bookmarks in the database.
    aliases = {name: hex(node) for name, node in found.items() if not hex(node).startswith(name)}
    has_node = repo.unfiltered().changelog.hasnode
    with overlays.opened(repo, backend.cached_store, list(bundles.values())) as overlay:
        try:
            revisions = sorted(scmutil.revrange(overlay, named, localalias=aliases))
            nodes = [overlay.changelog.node(revision) for revision in revisions]
        except error.WdirUnsupported as exc:
            raise Refused('the working directory is not a draft') from exc
        return [node for node in nodes if not has_node(node)]


def _names(tree: Any, inside: bool = False) -> Iterator[bytes]:
    """Yield possible names of drafts in a parsed revset.

    In the arguments of a function, yield only what looks like a hash: other words there have
    another meaning.
    """
    if not isinstance(tree, tuple) or not tree:
        return
    if tree[0] in (b'symbol', b'string'):
        if re.fullmatch(_HASH, tree[1]) or not (inside or re.fullmatch(_NUMBER, tree[1])):
            yield tree[1]
        return
    inside = inside or tree[0] == b'func'
    for part in tree[1:]:
        yield from _names(part, inside)
