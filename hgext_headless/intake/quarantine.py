"""The quarantine: a repository in which a push can be seen whole, and is not applied.

It is Mercurial's bundle repository over the real one. Stored drafts that the
push builds on are laid under it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from mercurial.node import short

from .. import hgcompat
from ..bundles import checking, overlay as overlays
from ..bundles.overlay import Layer
from ..model import Changeset, Refused
from .incoming import Incoming

#: The variable by which an hg that a shell hook starts finds the push.
VARIABLE = b'HG_HEADLESS_QUARANTINE'

# Each round adds at least one stored bundle; a push that needs more is no accident.
_MAX_ROUNDS = 100


class Quarantine:
    """``overlay`` is the repository, ``path`` the bundle that lies over the real
    one, ``changesets`` all that the push brought, parents first."""

    def __init__(self, overlay: Any, path: str, changesets: list[Changeset]) -> None:
        self.overlay = overlay
        self.path = path
        self.changesets = changesets

    def url(self) -> bytes:
        """The quarantine as Mercurial names a bundle repository."""
        return b'bundle:%s+%s' % (self.overlay.root, hgcompat.to_bytes(self.path))


def path_from_environment(root: bytes, variable: bytes) -> bytes | None:
    """The bundle to lay over the repository at ``root``, from `VARIABLE`'s value."""
    prefix = b'bundle:%s+' % root
    return variable[len(prefix) :] if variable.startswith(prefix) else None


@contextlib.contextmanager
def opened(incoming: Incoming) -> Iterator[Quarantine]:
    """Build the quarantine of a push, and check every revision that came in.

    Raises `Refused` where a revision does not fit its hash or is missing, and
    `Temporary` or `Corrupt` where a stored draft that it needs can't be had.
    """
    under = _Under(incoming)
    under.add(_unknown_nodes(incoming))
    for _round in range(_MAX_ROUNDS):
        path = os.path.join(incoming.folder, 'quarantine.hg')
        layers = under.layers + ([incoming.layer] if incoming.layer else [])
        overlays.write(incoming.ui, layers, path)
        overlay = None
        try:
            with checking.misses():
                overlay = overlays.lay(incoming.repo, path)
                changesets = (
                    checking.checked(
                        overlay, incoming.layer, [entry.node for entry in incoming.entries]
                    )
                    if incoming.layer
                    else []
                )
            overlays.silence_outgoing_hooks(overlay.ui)
            yield Quarantine(overlay, path, changesets)
            return
        except checking.Missing as missing:
            under.add_holders(missing.nodes)
        finally:
            if overlay is not None:
                overlay.close()
    raise Refused('the push uses revisions of too many other drafts')


def _unknown_nodes(incoming: Incoming) -> set[bytes]:
    """What the push refers to and does not bring: nodes that may be stored drafts."""
    has_node = incoming.repo.unfiltered().changelog.hasnode
    brought = {entry.node for entry in incoming.entries}
    named = {p for entry in incoming.entries for p in (entry.p1, entry.p2)}
    named.update(incoming.public_heads)
    return {node for node in named - brought if not has_node(node)}


class _Under:
    """The stored bundles that have to lie under the push."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._keys: set[str] = set()
        self.layers: list[Layer] = []

    def add(self, nodes: set[bytes]) -> None:
        """Fetch the bundles of stored drafts."""
        if not nodes:
            return
        site = self._incoming.site
        found = site.catalog.bundles_with(nodes)
        for node in sorted(nodes):
            if node not in found:
                raise Refused(f'changeset {hgcompat.to_str(short(node))} is unknown here')
            bundle = found[node]
            if bundle.key not in self._keys:
                self._keys.add(bundle.key)
                self.layers.append(
                    overlays.fetch(
                        self._incoming.ui, site.store, bundle, self._incoming.folder
                    )
                )

    def add_holders(self, revisions: set[bytes]) -> None:
        """Fetch the stored drafts that some revisions came with.

        A client leaves a revision out that it knows another draft here to
        have: the same file in a graft, the same manifest under an amended
        message.
        """
        holders = self._incoming.site.catalog.holders(revisions)
        before = len(self.layers)
        self.add(set(holders.values()))
        if len(self.layers) == before:
            node = hgcompat.to_str(short(min(revisions)))
            raise Refused(f'the push uses revision {node}, which is missing')
