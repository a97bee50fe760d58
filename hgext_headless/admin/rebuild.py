"""``admin::headless-rebuild``: create the rows of objects that have none."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from mercurial import pycompat
from mercurial.node import hex, nullid

from .. import config, hgcompat, place as places, store as stores
from ..backend import Backend
from ..bundles import check, overlay as overlays, write
from ..bundles.overlay import Layer
from ..catalog import bans, pushlog, record as catalog_record
from ..errors import Corrupt, HeadlessError, Refused
from ..lifecycle import drop, upload
from ..model import Bundle, Push
from ..replication import append, follow, unrecorded
from ..store import Object
from . import options, restored

#: The user of rebuilt pushes.
USER = 'rebuilt'


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    dry_run = bool(opts['dry_run'])
    ids = unrecorded.Ids(backend)
    bundles = changesets = failed = 0
    with ui.formatter(b'headless-rebuild', pycompat.byteskwargs(opts)) as fm:
        removed, _unnoted = drop.compare_obliterated(backend)
        if removed:
            if not dry_run:
                drop.record_obliterated(backend, removed)
            kept = options.number(len(removed), 'draft')
            options.summary(ui, fm, b'kept %s removed for good\n' % kept)
        if config.takes_pushes(repo) and not dry_run:
            unrecorded.again(repo, backend, ids)
        found = [each for part in options.orphans(ui, backend, b'listing') for each in part]
        found.sort(key=lambda each: (each.modified, each.key))  # the oldest first
        with options.progress(ui, b'rebuilding', b'objects', len(found)) as bar:
            for each in found:
                fm.startitem()
                fm.write(b'object', b'%s', hgcompat.to_bytes(each.key))
                try:
                    found_again = rebuilt(ui, repo, backend, each, None if dry_run else ids)
                except HeadlessError as exc:
                    failed += 1
                    fm.data(error=hgcompat.to_bytes(exc.line()))
                    fm.plain(b': %s\n' % hgcompat.to_bytes(exc.line()))
                else:
                    if found_again is None:
                        fm.plain(b': public history, which the repository has\n')
                    else:
                        bundles += 1
                        changesets += _write(fm, *found_again)
                bar.increment()
        options.summary(
            ui,
            fm,
            (b'would rebuild' if dry_run else b'rebuilt')
            + b' %s with %s; %d failed\n'
            % (options.number(bundles, 'bundle'), options.number(changesets, 'changeset'), failed),
        )
        if places.has_log(backend.settings) and config.takes_pushes(repo) and not dry_run:
            _log_lost(ui, fm, repo, backend, ids)
        if ids.epoch is not None:
            options.summary(ui, fm, restored.news(ids.epoch))
    return 1 if failed else 0


def _log_lost(ui: Any, fm: Any, repo: Any, backend: Backend, ids: unrecorded.Ids) -> None:
    """Log what the log of public history has lost; let a push list its changesets."""
    place = append.begun(repo, backend)
    nodes = append.missing(repo, place)
    ids.prepare(nodes)
    logged = append.append(repo, backend, user=USER, nodes=nodes)
    bookmarks = follow.log_bookmarks(repo, backend, follow.lost_bookmarks)
    if logged or bookmarks:
        options.summary(
            ui,
            fm,
            b'logged what the log of public history had lost: %s, %s\n'
            % (options.number(len(nodes), 'changeset'), options.number(bookmarks, 'bookmark')),
        )


def _write(fm: Any, bundle: Bundle, push_id: int | None) -> int:
    """Write what was rebuilt; return the number of its changesets."""
    number = len(bundle.nodes)
    fm.write(b'head', b': %s', hex(bundle.head))
    fm.data(changesets=number, push=push_id)
    fm.plain(b', %s' % options.number(number, 'changeset'))
    fm.plain(b', push %d\n' % push_id if push_id else b'\n')
    return number


def rebuilt(
    ui: Any, repo: Any, backend: Backend, found: Object, ids: unrecorded.Ids | None
) -> tuple[Bundle, int | None] | None:
    """Read and check the object ``found`` and, if there are ``ids``, record its rows.

    Changesets that no push has brought become a push. Return the bundle and the id of the push, or
    None if the object is public history that the repository has: if the log began again above it,
    it needs no object for that.

    Raise `errors.Corrupt` if the object is not a bundle of this package. Raise `errors.Refused` if
    its changesets were removed for good, if the repository lacks a base, or if it lacks public
    history: the object alone does not tell whether that was ever accepted.
    """
    with overlays.scratch() as folder:
        path = os.path.join(folder, 'object')
        backend.store.get(found.key, path)
        bundle = _described(found.key, path)
        public = append.nodes_of(ui, path, found.key)
        if public is not None:
            _check_public(repo, public)
            if ids is not None:
                _list(repo, backend, public, ids)
            return None
        layer = overlays.uncompressed(ui, bundle, path)
        bundle, changesets = _read(repo, bundle, layer, folder)
        if ids is None:
            backend.catalog.read(bans.refuse, bundle.nodes)
            return bundle, None
        ids.prepare(bundle.nodes)
        push = Push(USER, tuple(changesets), (bundle,))
        # It may have been deleted once, and somebody has put it back.
        recorded = upload.recorded(
            backend,
            [(bundle, path)],
            lambda again: backend.catalog.write(catalog_record.record, push, again),
        )
        return bundle, recorded.push_id


def is_of_log(ui: Any, backend: Backend, found: Object) -> bool:
    """Return whether an object is of the log of public history; False if it cannot be read."""
    with overlays.scratch() as folder, contextlib.suppress(HeadlessError):
        path = os.path.join(folder, 'object')
        backend.store.get(found.key, path)
        return append.nodes_of(ui, path, found.key) is not None
    return False


def _list(repo: Any, backend: Backend, nodes: list[bytes], ids: unrecorded.Ids) -> None:
    """Let a push list public changesets that the database has lost, with the log that had them."""
    listed = backend.catalog.read(pushlog.brought, nodes, False)
    unlisted = [node for node in nodes if node not in listed]
    if unlisted:
        ids.prepare(unlisted)
        found = tuple(check.of_changelog(repo.unfiltered(), node) for node in unlisted)
        backend.catalog.write(catalog_record.record, Push(USER, found), {})


def _check_public(repo: Any, nodes: list[bytes]) -> None:
    lacking = [node for node in nodes if not places.is_public(repo, node)]
    if lacking:
        raise Refused(
            f'it is public history, and {lacking[0].hex()[:12]} is not public in this repository '
            f'({len(lacking)} of {len(nodes)}): pull what is missing from another server, and make '
            'it public'
        )


def _described(key: str, path: str) -> Bundle:
    """Return the key, size and digest of an object's file, as a bundle without changesets."""
    name, check = write.digests(path)
    if name != stores.digest(key):
        raise Corrupt(f'object {key} is not what its name says')
    return Bundle(key, os.path.getsize(path), check, nullid, ())


def _read(repo: Any, bundle: Bundle, layer: Layer, folder: str) -> tuple[Bundle, list[Any]]:
    """Return the bundle with its head, bases and changesets, and the facts about its changesets."""
    nodes = overlays.nodes(layer)
    has_node = repo.unfiltered().changelog.hasnode
    with check.misses(), overlays.laid(repo, [layer], folder) as overlay:
        changesets = check.checked(overlay, layer).changesets
    parents = {parent for c in changesets for parent in (c.p1, c.p2)} - {nullid}
    bases = sorted(parents.difference(nodes))
    lacking = [base for base in bases if not has_node(base)]
    if lacking:
        raise Refused(f'it builds on {lacking[0].hex()[:12]}, which is not in the repository')
    heads = [node for node in nodes if node not in parents]
    if len(heads) != 1:
        raise Corrupt(f'object {bundle.key} has {len(heads)} heads, and a bundle of ours has one')
    found = Bundle(bundle.key, bundle.size, bundle.sha512, heads[0], tuple(bases), tuple(nodes))
    return found, changesets
