"""Drafts by the names that an operator gives."""

from __future__ import annotations

from typing import Any

from .. import hgcompat
from ..model import Refused
from ..site import Site


def drafts_named(repo: Any, site: Site, revs: list[bytes]) -> list[bytes]:
    """The drafts that hashes, prefixes of them and bookmarks name. Raises `Refused`."""
    nodes: list[bytes] = []
    for name in revs:
        found = site.catalog.named(name)
        if len(found) != 1:
            why = 'is ambiguous' if found else 'is no draft'
            raise Refused(f'"{hgcompat.escaped(name)}" {why}')
        nodes.append(found[0])
    return nodes
