"""The quarantine: a repository in which the whole push is visible but not applied.

It is Mercurial's bundle repository over the real repository.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mercurial.node import bin

from .. import hgcompat
from ..bundles import changegroups, check, overlay as overlays
from ..bundles.overlay import Layer
from ..catalog import drafts as catalog_drafts
from ..errors import Refused
from ..model import Changeset
from .incoming import Incoming

#: The environment variable by which an hg that a shell hook starts finds the push.
VARIABLE = b'HG_HEADLESS_QUARANTINE'
#: Which part of ``max-push-size`` the texts of its changesets may have: they are kept in memory.
_SHARE_OF_TEXTS = 8
#: That by which it knows which heads the push makes public.
_PUBLIC = b'HG_HEADLESS_PUBLIC'


class Quarantine(NamedTuple):
    """The quarantine of a push.

    ``overlay`` is the repository with the push laid over it, ``path`` the file of its bundle (empty
    if there is none), ``checked`` what the push brought. ``new`` are those of its changesets
    that this server does not have, also not as stored drafts: the last ones of the overlay.
    """

    overlay: Any
    path: str
    checked: check.Checked
    new: Sequence[bytes] = ()

    @property
    def changesets(self) -> list[Changeset]:
        """All changesets of the push, parents first."""
        return self.checked.changesets

    def url(self) -> bytes | None:
        """Return the URL of the quarantine as a bundle repository; None if it has no bundle."""
        url = b'bundle:%s+%s' % (self.overlay.root, hgcompat.to_bytes(self.path))
        return url if self.path else None


def enter(repo: Any, environ: Mapping[bytes, bytes]) -> None:
    """Lay a push over ``repo``, if a shell hook of the site has started this hg to look at it."""
    prefix = b'bundle:%s+' % repo.root
    url = environ.get(VARIABLE, b'')
    if url.startswith(prefix):
        overlays.become(repo, url[len(prefix) :])
        if public := environ.get(_PUBLIC):
            overlays.publish(repo, [bin(node) for node in public.split()])


def sort(incoming: Incoming, stored: Collection[bytes]) -> None:
    """Put the changesets of a push that are ``stored`` drafts before the new ones.

    A hook then sees as new what is new to this server, from the first new one to the tip. Raise
    `Refused` if a parent is in neither the push nor public history: a client leaves out only
    what it has in common with public history.
    """
    has_node = incoming.repo.unfiltered().changelog.hasnode
    brought: set[bytes] = set()
    for entry in incoming.entries:
        if entry.node in brought:
            raise Refused(f'changeset {entry.node.hex()[:12]} is twice in the changegroup')
        brought.add(entry.node)
    old, new, present = [], [], set()
    missing = incoming.missing
    for entry in incoming.entries:
        parents = (entry.p1, entry.p2)
        for parent in parents:
            if parent not in brought and not has_node(parent):
                raise _unknown(parent)
        # What is public has public parents. A hash that does not fit its parents is found later.
        if not missing.isdisjoint(parents) or not has_node(entry.node):
            missing.add(entry.node)
        # A server that lags may lack a public changeset that a stored draft builds on.
        below = all(p in present or (p not in missing and has_node(p)) for p in parents)
        if below and (entry.node in stored or entry.node not in missing):
            old.append(entry)
            present.add(entry.node)
        else:
            new.append(entry)
    incoming.is_sorted = incoming.entries == old + new
    incoming.entries = old + new
    incoming.new = [entry.node for entry in new]


@contextlib.contextmanager
def opened(incoming: Incoming) -> Iterator[Quarantine]:
    """Build the quarantine of a push, check each revision of it, and correct wrong linknodes."""
    path = os.path.join(incoming.folder, 'quarantine.hg')
    with check.misses():
        if not incoming.is_sorted:
            _write_sorted(incoming, path)
        layer = incoming.layer
        assert layer is not None
        overlay = _laid(incoming, layer, path)
        try:
            checked = check.checked(overlay, layer)
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
        yield Quarantine(overlay, path, checked, incoming.new)
    finally:
        overlay.close()


def _write_sorted(incoming: Incoming, path: str) -> None:
    """Write the changegroup of a push anew, with its changesets in the order of the entries."""
    received = incoming.layer
    assert received is not None
    overlay = _laid(incoming, received, path)
    try:
        written = Layer(os.path.join(incoming.folder, 'sorted.cg'), b'02')
        text = overlay.changelog.revision
        with open(received.path, 'rb') as source, open(written.path, 'wb') as out:
            out.writelines(changegroups.reordered(source, incoming.entries, text))
    finally:
        overlay.close()
    os.unlink(received.path)
    incoming.layer = written


def _laid(incoming: Incoming, layer: Layer, path: str) -> Any:
    overlays.write(incoming.ui, [layer], path)
    overlay = overlays.lay(incoming.repo, path, incoming.missing)
    log = overlay.changelog
    limit = incoming.backend.settings.max_push_size // _SHARE_OF_TEXTS
    # On the wire, a text may be a few bytes that differ from another one.
    if sum(map(log.rawsize, range(log.repotiprev + 1, len(log)))) > limit:
        overlay.close()
        raise Refused(
            'the descriptions and lists of files of the push have more than 1/'
            f'{_SHARE_OF_TEXTS} of headless.max-push-size ({limit} bytes)'
        )
    return overlay


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


def _unknown(node: bytes) -> Refused:
    return Refused(f'changeset {node.hex()[:12]} is unknown here')
