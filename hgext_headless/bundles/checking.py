"""Reading all that a bundle brought, laid over a repository, and the facts about it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from mercurial import error
from mercurial.node import nullid

from .. import hgcompat
from ..model import Changeset, Refused
from . import changegroups, facts
from .overlay import Layer


class Unfit(Refused):
    """A revision whose content does not make its hash, or one that is not there."""


@contextlib.contextmanager
def misses() -> Iterator[None]:
    """Turn Mercurial's error for a revision that is not there into `Unfit`."""
    try:
        yield
    except error.LookupError as exc:
        raise missing(exc.name) from exc


def checked(overlay: Any, layer: Layer, nodes: Sequence[bytes]) -> list[Changeset]:
    """Read every revision of a layer of an overlay, so that its hash is checked.

    Returns the facts about its changesets, which are ``nodes``. Raises `Unfit`,
    Mercurial's `LookupError` (see `misses`), and `model.Refused` where a file has a name
    that is not allowed.
    """
    try:
        with open(layer.path, 'rb') as file:
            unpacker = changegroups.unpack(file, layer.version)
            _check_group(unpacker, overlay.changelog)
            changesets = [_changeset(overlay, node) for node in nodes]
            # Its manifest was read with each; a large one takes longer than all the rest.
            read = {overlay[node].manifestnode() for node in nodes}
            _check_group(unpacker, overlay.manifestlog.getstorage(b''), read)
            for name in changegroups.file_groups(unpacker):
                _check_group(unpacker, overlay.file(name))
        return changesets
    except error.LookupError:
        raise
    except hgcompat.UNREADABLE as exc:
        raise Unfit(f'a revision does not fit its hash ({type(exc).__name__})') from exc


def _check_group(unpacker: Any, storage: Any, read: Collection[bytes] = ()) -> None:
    for entry in hgcompat.deltas(unpacker):
        if entry.node not in read:
            storage.revision(entry.node)


def missing(node: bytes) -> Unfit:
    """The error for a revision that is used, and that neither a bundle nor the repository has."""
    return Unfit(f'revision {node.hex()[:12]} is missing')


def _changeset(overlay: Any, node: bytes) -> Changeset:
    """The facts about a changeset, whose files must all be there."""
    context = overlay[node]
    manifest_node = context.manifestnode()
    if manifest_node != nullid and not overlay.manifestlog.getstorage(b'').hasnode(manifest_node):
        raise missing(manifest_node)
    changed = context.p1().manifest().diff(context.manifest())
    for name, (_old, (file_node, _flag)) in changed.items():
        changegroups.check_file_name(name)
        if file_node is not None and not overlay.file(name).hasnode(file_node):
            raise missing(file_node)
    for name in context.files():
        if name not in changed:
            changegroups.check_file_name(name)
    return facts.of_changelog(overlay, node)
