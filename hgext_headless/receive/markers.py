"""The obsolescence markers of a push: for the database and for the repository."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from ..bundles import markers
from ..catalog import markers as catalog_markers
from ..model import Marker
from .incoming import Incoming


class Divided(NamedTuple):
    """The markers of a push.

    ``stored`` are markers of drafts. ``applied`` are markers of public changesets that the
    repository does not have yet. A marker may be in both.
    """

    stored: list[Marker]
    applied: list[markers.Raw]


def divide(incoming: Incoming, publishing: Collection[bytes]) -> Divided:
    """Divide the markers of a push. ``publishing`` are the changesets that it makes public.

    Stored markers of these changesets go into the repository too. Raise `errors.Temporary`.
    """
    repo = incoming.repo
    is_public = _test(incoming, publishing)
    stored = [
        markers.pack(marker)
        for marker in dict.fromkeys(incoming.markers)
        if not all(map(is_public, markers.nodes(marker)))
    ]
    applied = dict.fromkeys(markers.relevant(incoming.markers, is_public))
    if publishing and not repo.obsstore.readonly:
        with incoming.backend.catalog.reading() as session:
            found = catalog_markers.relevant(session, publishing)
        applied.update(dict.fromkeys(map(markers.unpack, found)))
    if applied:
        # Clients send all markers with every push: known ones must not take the lock.
        present = repo.obsstore.successors
        applied = {m: None for m in applied if m not in present.get(m[0], ())}
    return Divided(stored, list(applied))


def _test(incoming: Incoming, publishing: Collection[bytes]) -> Callable[[bytes], bool]:
    has_node = incoming.repo.unfiltered().changelog.hasnode
    newly_public = frozenset(publishing)
    return lambda node: node in newly_public or has_node(node)
