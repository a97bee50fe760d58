"""Drop bundles, and store again those of their drafts that stay."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mercurial.node import bin, hex

from .. import place as places, store as stores
from ..backend import Backend
from ..bundles import overlay as overlays, write
from ..catalog import bans, drafts as drafts_rows, drop as drop_rows
from ..catalog.drop import Candidate
from ..errors import Deletions
from ..model import Bundle
from . import upload
from .delete import Deleter


class DryRun(NamedTuple):
    """Keys of bundles that would be dropped so far, and drafts that would be stored again, with
    their ancestors."""

    keys: set[str]
    stays: set[bytes]


class Plan(NamedTuple):
    """The effect of dropping the bundles ``keys``; ``size`` is their total size in bytes.

    ``expired`` are the drafts that no bundle holds afterwards. ``stays`` are the heads of the
    drafts that have to be stored again.
    """

    keys: set[str]
    size: int
    expired: set[bytes]
    stays: list[bytes]


def plan(
    repo: Any,
    backend: Backend,
    candidates: Sequence[Candidate],
    chosen: Collection[bytes],
    done: DryRun | None = None,
) -> Plan:
    """Plan which drafts of ``candidates`` to drop, keep or store again.

    ``chosen`` are the drafts to drop. Public changesets stay, and are not stored again. Drafts
    in other bundles stay, and so do ancestors of drafts that stay. In a dry run, ``done`` has
    the results of earlier plans, and those of this one are added to it.
    """
    is_public = places.unchanging(repo)
    keys = {candidate.bundle.key for candidate in candidates}
    held = {n for candidate in candidates for n in candidate.bundle.nodes if not is_public(n)}
    drafts = set(held)
    dropped = keys
    if done is not None:
        dropped = done.keys
        dropped |= keys
        drafts -= done.stays
    drafts -= backend.catalog.read(drop_rows.held_elsewhere, drafts, dropped)
    parents = backend.catalog.read(drafts_rows.parents, held)
    stays = _with_ancestors(drafts.difference(chosen), parents, drafts)
    if done is not None:
        # A draft is stored again with all its ancestors, those in other bundles too.
        done.stays.update(_with_ancestors(stays, parents, held))
    size = sum(candidate.bundle.size for candidate in candidates)
    inner = {parent for node in stays for parent in parents[node]}
    return Plan(keys, size, drafts - stays, sorted(stays - inner))


def _with_ancestors(
    nodes: Iterable[bytes], parents: Mapping[bytes, Iterable[bytes]], among: Collection[bytes]
) -> set[bytes]:
    """Return ``nodes``, and those of their ancestors that are ``among`` these."""
    found: set[bytes] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += [parent for parent in parents[node] if parent in among]
    return found


def carry_out(
    repo: Any,
    backend: Backend,
    deleter: Deleter,
    candidates: Sequence[Candidate],
    planned: Plan,
    loss: drop_rows.Loss | None = None,
) -> list[bytes]:
    """Store again what stays, delete the rows, then the objects; return the drafts that are gone.

    ``loss`` is given if they were lost. If this is interrupted, either nothing has happened, or
    objects are left that are marked for deletion; the next `Deleter.finish` deletes them.
    """
    with overlays.scratch() as folder:
        files = _written(repo, backend, candidates, planned.stays, folder)

        def record(stored_again: Deletions) -> list[bytes]:
            with places.at_the_head(repo, backend) as public:
                return drop_rows.drop(
                    public.session,
                    planned.keys,
                    {node for node in planned.expired if not public.is_public(node)},
                    [bundle for bundle, _path in files],
                    stored_again,
                    loss,
                )

        upload.put(backend, files)
        gone = upload.recorded(backend, files, record)
    deleter.finish()
    for key in planned.keys:
        backend.cache.forget(key)
    return gone


def _written(
    repo: Any,
    backend: Backend,
    candidates: Sequence[Candidate],
    heads: Sequence[bytes],
    folder: str,
) -> list[tuple[Bundle, str]]:
    if not heads:
        return []
    needed = [
        candidate.bundle
        for candidate in candidates
        if not set(heads).isdisjoint(candidate.bundle.nodes)
    ]
    has_node = repo.unfiltered().changelog.hasnode
    with overlays.opened(repo, backend.cached_store, needed) as overlay:
        return [
            write.write_head(overlay, backend.settings.repository, head, has_node, folder)
            for head in heads
        ]


#: The user and the reason of rows whose objects alone are left.
_USER, _REASON = 'rebuilt', b'found in the store; the database that had the reason is gone'


def note_obliterated(backend: Backend, node: bytes) -> None:
    """Write to the store that a draft was removed for good."""
    with overlays.scratch() as folder:
        path = os.path.join(folder, 'node')
        with open(path, 'wb') as file:
            file.write(hex(node) + b'\n')
        key = stores.obliterated(backend.settings.repository) + node.hex()
        backend.store.put(key, path)


def compare_obliterated(backend: Backend) -> tuple[set[bytes], set[bytes]]:
    """Return the drafts that only the store knows to be removed, and those only the database."""
    prefix = stores.obliterated(backend.settings.repository)
    names = (found.key[len(prefix) :] for found in backend.store.objects(prefix))
    noted = {bin(name.encode('ascii')) for name in names if re.fullmatch('[0-9a-f]{40}', name)}
    recorded = backend.catalog.read(bans.nodes)
    return noted - recorded, recorded - noted


def record_obliterated(backend: Backend, nodes: set[bytes]) -> None:
    """Record again what only the store knows: see `compare_obliterated`."""
    backend.catalog.write(bans.record, _USER, sorted(nodes), _REASON)
