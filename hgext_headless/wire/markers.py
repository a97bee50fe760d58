"""Obsolescence markers of drafts in answers to ``getbundle``."""

from __future__ import annotations

from typing import Any

from mercurial import bundle2, obsolete, obsutil

from ..bundles import markers
from ..catalog import markers as catalog_markers
from .getbundle import Served


def part(orig: Any, bundler: Any, repo: Any, source: bytes, **kwargs: Any) -> Any:
    """Generate the ``obsmarkers`` part, and a second one with markers of the drafts in the answer.

    A marker may be in both parts; clients ignore it in the second.
    """
    served: Served | None = kwargs.pop('headless_served', None)
    result = orig(bundler, repo, source, **kwargs)
    if served is None or not kwargs.get('obsmarkers'):
        return result
    if obsolete.isenabled(repo, obsolete.exchangeopt):
        nodes = {node for bundle in served.bundles for node in bundle.nodes}
        with served.backend.catalog.reading() as session:
            found = set(map(markers.unpack, catalog_markers.relevant(session, nodes)))
        nodes.update(marker[0] for marker in found)
        found |= repo.obsstore.relevantmarkers(nodes)
        bundle2.buildobsmarkerspart(bundler, obsutil.sortedmarkers(found))
    return result
