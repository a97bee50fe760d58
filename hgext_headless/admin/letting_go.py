"""Letting bundles go, and storing anew what in them stays."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from ..bundles import keeping, overlay as overlays, stored
from ..bundles.overlay import FOLDER_PREFIX
from ..catalog import expiry
from ..catalog.expiry import Going
from ..model import Bundle, Deletions, Refused
from ..site import Site
from .removal import Remover


class DryRun(NamedTuple):
    """Keys of bundles that would be gone by now, and drafts that would be stored anew."""

    keys: set[str]
    stays: set[bytes]


class Plan(NamedTuple):
    """``gone`` are drafts that no bundle holds then. ``stays`` are drafts that have to be
    stored anew: heads are enough."""

    keys: set[str]
    size: int
    gone: set[bytes]
    stays: list[bytes]


def plan(
    repo: Any,
    site: Site,
    goings: Sequence[Going],
    chosen: Collection[bytes],
    done: DryRun | None = None,
) -> Plan:
    """What becomes of the drafts in some bundles, of which some are chosen to go.

    What is public stays, and is not stored anew; what stands in another bundle stays too;
    and so does what a draft that stays builds on. ``done`` has what earlier plans did, and
    is told of this one.
    """
    is_public = public_now(repo)
    keys = {going.bundle.key for going in goings}
    drafts = {n for going in goings for n in going.bundle.nodes if not is_public(n)}
    dropped = keys
    if done is not None:
        dropped = done.keys
        dropped |= keys
        drafts -= done.stays
    drafts -= site.catalog.read(expiry.held_elsewhere, drafts, dropped)
    parents = site.catalog.read(expiry.parents, drafts)
    stays: set[bytes] = set()
    inner: set[bytes] = set()
    pending = sorted(drafts - set(chosen))
    while pending:
        node = pending.pop()
        if node not in stays:
            stays.add(node)
            above = [parent for parent in parents[node] if parent in drafts]
            inner.update(above)
            pending += above
    if done is not None:
        done.stays.update(stays)
    size = sum(going.bundle.size for going in goings)
    return Plan(keys, size, drafts - stays, sorted(stays - inner))


def carry_out(
    repo: Any, site: Site, remover: Remover, goings: Sequence[Going], planned: Plan
) -> list[bytes]:
    """Store anew what stays, drop the rows, then the objects; return what is gone.

    Where it is interrupted, either nothing has happened yet, or objects are left that
    are doomed: the next `Remover.finish` deletes them.
    """
    folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
    try:
        files = _written(repo, site, goings, planned.stays, folder)

        def record(stored_again: Deletions) -> list[bytes]:
            is_public = public_now(repo)
            return site.catalog.write(
                expiry.let_go,
                planned.keys,
                {node for node in planned.gone if not is_public(node)},
                [bundle for bundle, _path in files],
                stored_again,
                int(time.time()),
            )

        gone = keeping.keep(site, files, record)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    remover.finish()
    for key in planned.keys:
        site.cache.forget(key)
    return gone


def public_now(repo: Any) -> Callable[[bytes], bool]:
    """Whether a changeset is public, by what the repository has by now: a push may have
    published it since it was looked at last.

    Raises `Refused` where the repository has drafts in itself.
    """
    repo.invalidateall()
    if repo.unfiltered().revs(b'first(not public())'):
        raise Refused(
            'this repository has drafts in itself: do this in the headless one that they '
            'were moved to'
        )
    is_public: Callable[[bytes], bool] = repo.unfiltered().changelog.hasnode
    return is_public


def _written(
    repo: Any, site: Site, goings: Sequence[Going], heads: Sequence[bytes], folder: str
) -> list[tuple[Bundle, str]]:
    if not heads:
        return []
    needed = [going.bundle for going in goings if not set(heads).isdisjoint(going.bundle.nodes)]
    has_node = repo.unfiltered().changelog.hasnode
    with overlays.opened(repo, site.source, needed) as overlay:
        return [
            stored.write_head(overlay, site.settings.repository, head, has_node, folder)
            for head in heads
        ]
