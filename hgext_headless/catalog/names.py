"""What names stand for: hashes, prefixes and bookmarks of drafts."""

from __future__ import annotations

import re
from collections.abc import Collection

from ..model import Drafts
from . import bookmarks, drafts, pushlog
from .session import Session

_WHOLE = re.compile(rb'[0-9a-f]{40}\Z')


def drafts_named(session: Session, names: Collection[bytes]) -> Drafts:
    """All that the page of a draft needs; of pushes not the ends."""
    whole = {name: bytes.fromhex(name.decode()) for name in names if _WHOLE.match(name)}
    nodes = {name: bookmarks.named(session, name) for name in names if name not in whole}
    single = {found[0] for found in nodes.values() if len(found) == 1}
    single.update(whole.values())
    bundles = drafts.bundles_holding(session, single)
    for name, node in whole.items():
        nodes[name] = (node,) if node in bundles else ()
    brought = pushlog.brought(session, bundles, with_ends=False)
    nameless = [name for name, found in nodes.items() if not found]
    return Drafts(nodes, bundles, brought, pushlog.expired(session, nameless))
