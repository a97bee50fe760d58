"""The quarantine: a repository in which the whole push is visible but not applied.

It is Mercurial's bundle repository over the real repository.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from .. import hgcompat
from ..bundles import check, overlay as overlays
from ..bundles.overlay import Layer
from ..catalog import drafts as catalog_drafts
from ..errors import Refused
from ..model import Changeset
from .incoming import Incoming

#: The environment variable by which an hg that a shell hook starts finds the push.
VARIABLE = b'HG_HEADLESS_QUARANTINE'


class Quarantine:
    """The quarantine of a push.

    ``overlay`` is the repository with the push laid over it, ``path`` the file of its bundle,
    ``checked`` what the push brought.
    """

    def __init__(self, overlay: Any, path: str, checked: check.Checked) -> None:
        self.overlay = overlay
        self.path = path
        self.checked = checked

    @property
    def changesets(self) -> list[Changeset]:
        """All changesets of the push, parents first."""
        return self.checked.changesets

    @property
    def nodes(self) -> list[bytes]:
        """The nodes of `changesets`."""
        return [changeset.node for changeset in self.changesets]

    def url(self) -> bytes:
        """Return the URL of the quarantine, in Mercurial's form for bundle repositories."""
        return b'bundle:%s+%s' % (self.overlay.root, hgcompat.to_bytes(self.path))


def path_from_environment(root: bytes, variable: bytes) -> bytes | None:
    """Return the path of the bundle to lay over the repository at ``root``, or None.

    ``variable`` is the value of `VARIABLE`.
    """
    prefix = b'bundle:%s+' % root
    return variable[len(prefix) :] if variable.startswith(prefix) else None


@contextlib.contextmanager
def opened(incoming: Incoming) -> Iterator[Quarantine]:
    """Build the quarantine of a push, and check every revision that was received.

    Correct wrong linknodes. Raise `Refused` if a revision does not match its hash or is
    missing.
    """
    layer = incoming.layer
    assert layer is not None
    _check_parents(incoming)
    path = os.path.join(incoming.folder, 'quarantine.hg')
    with check.misses():
        overlay = _laid(incoming, layer, path)
        try:
            nodes = [entry.node for entry in incoming.entries]
            checked = check.checked(overlay, layer, nodes)
        except BaseException:
            overlay.close()
            raise
        if checked.misnamed:
            overlay.close()
            with open(layer.path, 'r+b') as file:
                for wrong in checked.misnamed:
                    file.seek(wrong.offset)
                    file.write(wrong.node)
            overlay = _laid(incoming, layer, path)
    try:
        overlays.silence_outgoing_hooks(overlay.ui)
        yield Quarantine(overlay, path, checked)
    finally:
        overlay.close()


def _laid(incoming: Incoming, layer: Layer, path: str) -> Any:
    overlays.write(incoming.ui, [layer], path)
    return overlays.lay(incoming.repo, path)


@contextlib.contextmanager
def without_changesets(incoming: Incoming) -> Iterator[Quarantine]:
    """Build the quarantine of a push that brings no changeset.

    It is the repository, with the stored drafts that the push makes public laid over it. Raise
    `Refused` if one is not stored, `Temporary` and `Corrupt`.
    """
    repo = incoming.repo.unfiltered()
    drafts = [n for n in incoming.public_heads if not repo.changelog.hasnode(n)]
    nothing = check.Checked([], {}, [])
    if not drafts:
        yield Quarantine(repo, '', nothing)
        return
    backend = incoming.backend
    with backend.catalog.reading() as session:
        found = catalog_drafts.bundles_with(session, drafts)
    for node in drafts:
        if node not in found:
            raise _unknown(node)
    with overlays.opened(repo, backend.store, list(found.values())) as overlay:
        overlays.silence_outgoing_hooks(overlay.ui)
        yield Quarantine(overlay, '', nothing)


def _check_parents(incoming: Incoming) -> None:
    """Check that the parents of all changesets are in the push or in public history.

    A client leaves out only what it has in common with public history.
    """
    has_node = incoming.repo.unfiltered().changelog.hasnode
    brought: set[bytes] = set()
    for entry in incoming.entries:
        if entry.node in brought:
            raise Refused(f'changeset {entry.node.hex()[:12]} is twice in the changegroup')
        brought.add(entry.node)
    for entry in incoming.entries:
        for parent in (entry.p1, entry.p2):
            if parent not in brought and not has_node(parent):
                raise _unknown(parent)


def _unknown(node: bytes) -> Refused:
    return Refused(f'changeset {node.hex()[:12]} is unknown here')
