"""``admin::headless-export``: write drafts and pushlog to an ordinary repository or a folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial import pycompat
from mercurial.utils import urlutil

from ... import hgcompat, pushlog2
from ...backend import Backend
from ...catalog import drafts, exports, push_nodes, pushlog
from ...errors import Refused
from ...model import Bundle, PastPush, Selection
from .. import cli, conflicts, revsets
from .folder import FolderTarget
from .repository import RepositoryTarget
from .target import Target

#: Maximum number of bundles that are read, and that a target takes, at once; maximum size in
#: bytes of those that it takes. A larger bundle is taken alone.
_BUNDLES, _BYTES = 200, 64 * 1024 * 1024
_PUSHES = 500
_BOOKMARKS = 1000


class _Wanted:
    """What is to be exported. ``push_ids`` is None if all pushes are."""

    def __init__(self, repo: Any, backend: Backend, opts: dict[str, Any]) -> None:
        self._catalog = backend.catalog
        self.push_ids: list[int] | None = None
        self._bundles: list[Bundle] = []
        if not (opts['rev'] or opts['push']):
            self.bundle_count = self._catalog.read(exports.bundle_count)
            self.push_count = self._catalog.read(exports.push_count)
            return
        push_ids = cli.push_ids('push', opts['push'])
        pushes = self._catalog.read(push_nodes.past_pushes, push_ids)
        for missing in sorted(set(push_ids) - {push.push_id for push in pushes}):
            raise Refused(f'there is no push {missing}')
        named = revsets.drafts_named(repo, backend, opts['rev']) if opts['rev'] else []
        nodes = [node for push in pushes for node in push.nodes] + named
        self._bundles = self._covering(nodes)
        held = {node for bundle in self._covering(named) for node in bundle.nodes}
        brought = self._catalog.read(pushlog.brought, held)
        self.push_ids = sorted({*push_ids, *(b.entry.push_id for b in brought.values())})
        self.bundle_count, self.push_count = len(self._bundles), len(self.push_ids)

    def _covering(self, nodes: Sequence[bytes]) -> list[Bundle]:
        """Return bundles that together hold all drafts in ``nodes``.

        ``nodes`` are in order, parents first: the bundle of a head covers its ancestors.
        """
        uncovered = self._catalog.read(drafts.known, nodes)
        found: list[Bundle] = []
        for node in reversed(nodes):
            if node in uncovered:
                bundle = self._catalog.read(drafts.bundles_with, [node])[node]
                uncovered.difference_update(bundle.nodes)
                found.append(bundle)
        return found[::-1]

    def bundles(self) -> Iterator[Bundle]:
        """Yield the bundles to export."""
        if self.push_ids is not None:
            yield from self._bundles
            return
        after, page = self._catalog.read(exports.bundles_after, 0, _BUNDLES)
        while page:
            yield from page
            after, page = self._catalog.read(exports.bundles_after, after, _BUNDLES)

    def pushes(self) -> Iterator[list[int]]:
        """Yield the ids of the pushes to export, in order and in batches."""
        if self.push_ids is not None:
            for start in range(0, len(self.push_ids), _PUSHES):
                yield self.push_ids[start : start + _PUSHES]
            return
        seen = 0
        while page := self._catalog.read(pushlog.entries, Selection(after=seen), False, _PUSHES):
            seen = page[-1].push_id
            yield [entry.push_id for entry in page]


def run(ui: Any, repo: Any, backend: Backend, dest: bytes, **opts: Any) -> int:
    target = _target(ui, repo, backend, dest)
    wanted = _Wanted(repo, backend, opts)
    target.begin()
    counts = dict.fromkeys(('bundles', 'there', 'failed', 'pushes', 'clashes'), 0)
    with ui.formatter(b'headless-export', pycompat.byteskwargs(opts)) as fm:
        _export_bundles(ui, fm, repo, target, wanted, counts)
        _export_bookmarks(backend, target)
        _export_pushes(ui, fm, backend, target, wanted, counts)
        fm.startitem()
        fm.data(kind=b'total', **counts)
        cli.summary(
            ui,
            fm,
            b'exported %d bundles (%d were there already, %d cannot be had) and %d pushes '
            b'(%d clash)\n' % tuple(counts.values()),
        )
    return 1 if counts['failed'] or counts['clashes'] else 0


def _target(ui: Any, repo: Any, backend: Backend, dest: bytes) -> Target:
    if not urlutil.url(dest).islocal():
        raise Refused(f'{hgcompat.escaped(dest)} is not a local path')
    path = os.path.abspath(dest)
    if os.path.isdir(os.path.join(path, b'.hg')):
        return RepositoryTarget(ui, repo, backend, path)
    return FolderTarget(backend, hgcompat.to_str(path))


def _export_bundles(
    ui: Any, fm: Any, repo: Any, target: Target, wanted: _Wanted, counts: dict[str, int]
) -> None:
    public = repo.unfiltered().changelog.hasnode
    with cli.progress(ui, b'bundles', b'bundles', wanted.bundle_count) as bar:
        missing: list[Bundle] = []

        def take() -> None:
            failed = 0
            for bundle, why in target.take(missing):
                failed += 1
                fm.startitem()
                fm.data(kind=b'failed', node=bundle.head.hex().encode(), error=why.encode())
                fm.plain(b'%s\n' % hgcompat.to_bytes(why))
            counts['failed'] += failed
            counts['bundles'] += len(missing) - failed
            bar.increment(len(missing))
            missing.clear()

        for bundle in wanted.bundles():
            # If the head has become public, all its changesets are in public history.
            if public(bundle.head) or target.has(bundle):
                counts['there'] += 1
                bar.increment()
                continue
            if missing and sum(b.size for b in missing) + bundle.size > _BYTES:
                take()
            missing.append(bundle)
            if len(missing) == _BUNDLES:
                take()
        take()


def _export_bookmarks(backend: Backend, target: Target) -> None:
    after = b''
    while page := backend.catalog.read(exports.bookmarks_after, after, _BOOKMARKS):
        target.set_bookmarks(page)
        after = page[-1][0]


def _export_pushes(
    ui: Any, fm: Any, backend: Backend, target: Target, wanted: _Wanted, counts: dict[str, int]
) -> None:
    with pushlog2.writing(target.pushlog) as file:
        with cli.progress(ui, b'pushes', b'pushes', wanted.push_count) as bar:
            for push_ids in wanted.pushes():
                clashing = target.add_pushes(file, _pushes(backend, push_ids))
                conflicts.show(fm, clashing, b'exported was')
                counts['clashes'] += len(clashing)
                counts['pushes'] += len(push_ids) - len(clashing)
                bar.increment(len(push_ids))


def _pushes(backend: Backend, push_ids: Sequence[int]) -> list[PastPush]:
    """Return pushes without those tombstones whose changesets were pushed again.

    The later push has these changesets.
    """
    pushes = backend.catalog.read(push_nodes.past_pushes, push_ids)
    gone = {node for push in pushes for node in push.tombstoned}
    again = set(backend.catalog.read(pushlog.brought, gone)) if gone else set()
    return [
        dataclasses.replace(
            push, nodes=tuple(n for n in push.nodes if n not in push.tombstoned or n not in again)
        )
        for push in pushes
    ]
