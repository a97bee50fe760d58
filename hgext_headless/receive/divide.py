"""Divide a push by phase: public changesets for the repository, drafts for the store."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any, NamedTuple

from .. import hgcompat
from ..bundles import ancestry, markers
from ..catalog import markers as catalog_markers
from ..errors import Refused
from ..model import Marker
from .incoming import Incoming


class Divided(NamedTuple):
    """The nodes of a push by phase, parents first.

    ``draft_roots`` are its draft roots once its public changesets are in the repository.
    """

    public: list[bytes]
    public_heads: list[bytes]
    drafts: list[bytes]
    draft_heads: list[bytes]
    draft_roots: list[bytes]


def changesets(incoming: Incoming, repo: Any) -> Divided:
    """Divide the changesets of a push by phase. ``repo`` is the quarantine's overlay.

    Changesets that the client names public, and their ancestors, are public. All others that
    came in are drafts, unless they are public here already.
    """
    changelog = repo.changelog
    for node in incoming.public_heads:
        if not changelog.hasnode(node):
            raise Refused(f'changeset {node.hex()[:12]} is unknown here')
    # The repository's own changelog would map all its nodes after a few that it does not have.
    is_applied = functools.partial(hgcompat.repository_has, changelog)
    public = ancestry.above(changelog, incoming.public_heads, is_applied)
    if public and not incoming.backend.settings.accept_public:
        raise Refused(
            'this server takes no public changesets (headless.public = reject): '
            f'{public[0].hex()[:12]} is public'
        )
    is_public = set(public)
    drafts = [
        entry.node
        for entry in incoming.entries
        if entry.node not in is_public and not is_applied(entry.node)
    ]

    def among(revset: bytes, nodes: list[bytes]) -> list[bytes]:
        return [changelog.node(rev) for rev in repo.revs(revset, nodes)]

    return Divided(
        public,
        among(b'heads(%ln)', public),
        drafts,
        among(b'heads(%ln)', drafts),
        among(b'roots(%ln)', drafts),
    )


class DividedMarkers(NamedTuple):
    """The markers of a push: ``stored`` those of drafts, ``applied`` new ones of public changesets.

    A marker may be in both.
    """

    stored: list[Marker]
    applied: list[markers.Raw]


def markers_of(incoming: Incoming, publishing: Collection[bytes]) -> DividedMarkers:
    """Divide the markers of a push. ``publishing`` are the changesets that it makes public.

    Stored markers of these changesets go into the repository too.
    """
    repo = incoming.repo
    has_node = repo.unfiltered().changelog.hasnode
    newly_public = frozenset(publishing)

    def is_public(node: bytes) -> bool:
        return node in newly_public or has_node(node)

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
    return DividedMarkers(stored, list(applied))
