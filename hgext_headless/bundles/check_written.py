"""Check a bundle that was written for a push, before it is stored."""

from __future__ import annotations

from typing import Any

from mercurial import exchange

from .. import hgcompat
from ..model import Bundle
from . import changegroups
from .check_received import Checked, Unfit


def check(overlay: Any, bundle: Bundle, path: str, checked: Checked) -> None:
    """Raise `Unfit` if a bundle's file lacks a revision that its changesets introduced.

    Revisions that came with ancestors of its bases may be absent.
    """
    with open(path, 'rb') as file:
        unpacker = exchange.readbundle(overlay.ui, file, hgcompat.to_bytes(path))
        unpacker.changelogheader()
        if [entry.node for entry in hgcompat.deltas(unpacker)] != list(bundle.nodes):
            raise Unfit('the bundle that was written does not have the changesets of the push')
        unpacker.manifestheader()
        there = {b'': {entry.node for entry in hgcompat.deltas(unpacker)}}
        for name in changegroups.file_groups(unpacker):
            there[name] = {entry.node for entry in hgcompat.deltas(unpacker)}
    changelog = overlay.changelog
    below = [changelog.rev(base) for base in bundle.bases]
    for node in bundle.nodes:
        for name, revision in checked.introduced[node].items():
            if revision in there.get(name, ()):
                continue
            storage = overlay.file(name) if name else overlay.manifestlog.getstorage(b'')
            origin = storage.linkrev(storage.rev(revision))
            if not any(changelog.isancestorrev(origin, base) for base in below):
                raise Unfit(f'revision {revision.hex()[:12]} is not in the bundle that was written')
