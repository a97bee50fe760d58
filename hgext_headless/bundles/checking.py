"""Reading all that a bundle brought, laid over a repository, and the facts about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from mercurial import error
from mercurial.node import nullid

from .. import hgcompat
from ..model import Changeset, Refused
from . import changegroups, facts
from .overlay import Layer


class Missing(Exception):
    """Revisions that are used, and that neither the bundle nor the repository has."""

    def __init__(self, nodes: set[bytes]) -> None:
        super().__init__(nodes)
        self.nodes = nodes


class Unfit(Refused):
    """A revision whose content does not make its hash."""


@contextlib.contextmanager
def misses() -> Iterator[None]:
    """Turn Mercurial's error for a revision that is not there into `Missing`."""
    try:
        yield
    except error.LookupError as exc:
        raise Missing({exc.name}) from exc


def checked(overlay: Any, layer: Layer, nodes: Iterable[bytes]) -> list[Changeset]:
    """Read every revision of a layer of an overlay, so that its hash is checked.

    Returns the facts about its changesets, which are ``nodes``. Raises `Missing`,
    Mercurial's `LookupError` (see `misses`), `Unfit`, and `model.Refused` where a
    file has a name that is not allowed.
    """
    try:
        with open(layer.path, 'rb') as file:
            unpacker = changegroups.unpack(file, layer.version)
            _check_group(unpacker, overlay.changelog)
            _check_group(unpacker, overlay.manifestlog.getstorage(b''))
            for name in changegroups.file_groups(unpacker):
                _check_group(unpacker, overlay.file(name))
        return [_changeset(overlay, node) for node in nodes]
    except error.LookupError:
        raise
    except hgcompat.UNREADABLE as exc:
        raise Unfit(f'a revision does not fit its hash ({type(exc).__name__})') from exc


def _check_group(unpacker: Any, storage: Any) -> None:
    for entry in hgcompat.deltas(unpacker):
        storage.revision(entry.node)


def _changeset(overlay: Any, node: bytes) -> Changeset:
    """The facts about a changeset, whose files must all be there."""
    context = overlay[node]
    manifest_node = context.manifestnode()
    if manifest_node != nullid and not overlay.manifestlog.getstorage(b'').hasnode(manifest_node):
        raise Missing({manifest_node})
    used = {manifest_node}
    missing = set()
    changed = context.p1().manifest().diff(context.manifest())
    for name, (_old, (file_node, _flag)) in changed.items():
        changegroups.check_file_name(name)
        if file_node is None:
            continue
        used.add(file_node)
        if not overlay.file(name).hasnode(file_node):
            missing.add(file_node)
    if missing:
        raise Missing(missing)
    for name in context.files():
        if name not in changed:
            changegroups.check_file_name(name)
    return replace(facts.of_changelog(overlay, node), revisions=tuple(sorted(used - {nullid})))
