"""``admin::headless-export``: write drafts and pushlog to an ordinary repository."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial import changegroup, exchange, hg, pycompat, util
from mercurial.utils import urlutil

from .. import config, hgcompat, pushlog2
from ..backend import Backend
from ..bundles import changegroups, overlay
from ..catalog import drafts, moving, pushlog
from ..catalog.statements import batches
from ..errors import Corrupt, Refused, Temporary
from ..model import Bundle, PushNodes, Selection
from . import options, revsets

#: Maximum number of bundles that are added in one transaction, and their size in bytes. A larger
#: bundle is added alone.
_BUNDLES, _BYTES = 200, 64 * 1024 * 1024
_PUSHES = 500
_BOOKMARKS = 1000
# Hooks that are disabled: they are about exchange, and these changesets were pushed long ago.
_SILENCED = (
    b'prechangegroup',
    b'pretxnchangegroup',
    b'changegroup',
    b'incoming',
    b'preoutgoing',
    b'outgoing',
)


def run(ui: Any, repo: Any, backend: Backend, dest: bytes, **opts: Any) -> int:
    other = _destination(repo, dest)
    wanted = _Wanted(repo, backend, opts)
    if other.svfs.exists(b'journal'):
        other.recover()  # the last export was killed in a transaction
    exchange.pull(other, repo.peer(), heads=repo.heads())
    counts = dict.fromkeys(('bundles', 'there', 'failed', 'pushes', 'conflicts'), 0)
    with ui.formatter(b'headless-export', pycompat.byteskwargs(opts)) as fm:
        _export_bundles(ui, fm, repo, backend, other, wanted, counts)
        _export_bookmarks(backend, other)
        _export_pushes(ui, fm, backend, other, wanted, counts)
        fm.startitem()
        fm.data(kind=b'total', **counts)
        options.summary(ui, fm, b'exported %s\n' % _total(counts))
    return 1 if counts['failed'] or counts['conflicts'] else 0


def _total(counts: dict[str, int]) -> bytes:
    done = (options.number(counts['bundles'], 'bundle'), options.number(counts['pushes'], 'push'))
    others = [
        text % options.number(counts[name], noun)
        for name, noun, text in (
            ('there', 'bundle', b'%s there already'),
            ('failed', 'bundle', b'%s missing or damaged'),
            ('conflicts', 'push', b'%s in conflict'),
        )
        if counts[name]
    ]
    return b'%s and %s' % done + (b' (%s)' % b', '.join(others) if others else b'')


def _destination(repo: Any, dest: bytes) -> Any:
    """Open the repository to export to. Raise `Refused` if it is headless, or not local."""
    if not urlutil.url(dest).islocal():
        raise Refused(f'{hgcompat.escaped(dest)} is not a local path')
    path = os.path.abspath(dest)
    if not os.path.isdir(os.path.join(path, b'.hg')):
        shown = hgcompat.escaped(dest)
        raise Refused(f'{shown} is not a repository: make one with "hg init"')
    other = hg.repository(repo.baseui.copy(), path)
    if config.participates(other):
        raise Refused(f'{hgcompat.escaped(path)} is a headless repository itself')
    for name, _command in list(other.ui.configitems(b'hooks')):
        if name.split(b'.')[0] in _SILENCED:
            other.ui.setconfig(b'hooks', name, b'', b'headless')
    overlay.silence_outgoing_hooks(repo.ui)
    other.ui.quiet = True
    return other.unfiltered()


class _Wanted:
    """What is to be exported. ``push_ids`` is None if all pushes are."""

    def __init__(self, repo: Any, backend: Backend, opts: dict[str, Any]) -> None:
        self._catalog = backend.catalog
        self.push_ids: list[int] | None = None
        self._bundles: list[Bundle] = []
        if not (opts['rev'] or opts['push']):
            self.bundle_count = self._catalog.read(moving.bundle_count)
            self.push_count = self._catalog.read(moving.push_count)
            return
        push_ids = options.pushes(backend, 'push', opts['push'])
        pushes = self._catalog.read(pushlog.past_pushes, push_ids)
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
        after = 0
        while page := self._catalog.read(moving.bundles_after, after, _BUNDLES):
            after = page[-1][0]
            yield from (bundle for _number, bundle in page)

    def pushes(self) -> Iterator[Sequence[int]]:
        """Yield the ids of the pushes to export, in order and in batches."""
        if self.push_ids is not None:
            yield from batches(self.push_ids)
            return
        seen = 0
        while page := self._catalog.read(pushlog.entries, Selection(after=seen), False, _PUSHES):
            seen = page[-1].push_id
            yield [entry.push_id for entry in page]


def _export_bundles(
    ui: Any,
    fm: Any,
    repo: Any,
    backend: Backend,
    other: Any,
    wanted: _Wanted,
    counts: dict[str, int],
) -> None:
    public = repo.unfiltered().changelog.hasnode
    with options.progress(ui, b'bundles', b'bundles', wanted.bundle_count) as bar:
        missing: list[Bundle] = []

        def take() -> None:
            for bundle, why in _add(repo, backend, other, missing):
                counts['failed'] += 1
                fm.startitem()
                fm.data(kind=b'failed', node=bundle.head.hex().encode(), error=why.encode())
                fm.plain(b'%s\n' % hgcompat.to_bytes(why))
            counts['bundles'] += len(missing)
            missing.clear()

        for bundle in wanted.bundles():
            bar.increment()
            # If the head has become public, all its changesets are in public history.
            if public(bundle.head):
                continue
            if other.changelog.hasnode(bundle.head):
                counts['there'] += 1
                continue
            if missing and sum(b.size for b in missing) + bundle.size > _BYTES:
                take()
            missing.append(bundle)
            if len(missing) == _BUNDLES:
                take()
        take()
        counts['bundles'] -= counts['failed']


def _add(
    repo: Any, backend: Backend, other: Any, bundles: Sequence[Bundle]
) -> Iterator[tuple[Bundle, str]]:
    """Add bundles in one transaction; yield those that cannot be had, with the reason.

    As ``hg unbundle`` does: the discovery of a pull would cost more with each bundle added.
    """
    with overlay.scratch() as folder:
        layers = []
        for bundle in bundles:
            try:
                overlay.check_bases(repo, [bundle])
            except Temporary as exc:  # only of this bundle, unlike a store that is down
                yield bundle, str(exc)
                continue
            try:
                layers.append(overlay.fetch(repo.ui, backend.store, bundle, folder))
            except Corrupt as exc:
                yield bundle, str(exc)
        if not layers:
            return
        with contextlib.ExitStack() as stack:
            unpackers = [stack.enter_context(overlay.unpacked(layer)) for layer in layers]
            chunks = util.chunkbuffer(changegroups.spliced(unpackers))
            stack.enter_context(other.lock())
            transaction = stack.enter_context(other.transaction(b'headless-export'))
            changegroup.getunbundler(b'02', chunks, None).apply(
                other, transaction, b'unbundle', b'headless-export'
            )


def _export_bookmarks(backend: Backend, other: Any) -> None:
    after = b''
    while page := backend.catalog.read(moving.bookmarks_after, after, _BOOKMARKS):
        after = page[-1][0]
        changes = [(name, node) for name, node in page if other.changelog.hasnode(node)]
        with other.wlock(), other.lock(), other.transaction(b'headless-export') as transaction:
            other._bookmarks.applychanges(other, transaction, changes)


def _export_pushes(
    ui: Any, fm: Any, backend: Backend, other: Any, wanted: _Wanted, counts: dict[str, int]
) -> None:
    revision = other.changelog.index.get_rev
    with pushlog2.writing(hgcompat.to_str(other.vfs.join(b'pushlog2.db'))) as file:
        with options.progress(ui, b'pushes', b'pushes', wanted.push_count) as bar:
            for push_ids in wanted.pushes():
                found = file.add(_pushes(backend, push_ids), revision)
                options.show_conflicts(fm, found, b'exported was')
                counts['conflicts'] += len(found)
                counts['pushes'] += len(push_ids) - len(found)
                bar.increment(len(push_ids))


def _pushes(backend: Backend, push_ids: Sequence[int]) -> list[PushNodes]:
    """Return pushes without those tombstones whose changesets were pushed again.

    The later push has these changesets.
    """
    pushes = backend.catalog.read(pushlog.past_pushes, push_ids)
    gone = {node for push in pushes for node in push.tombstoned}
    again = set(backend.catalog.read(pushlog.brought, gone)) if gone else set()
    return [
        dataclasses.replace(
            push, nodes=tuple(n for n in push.nodes if n not in push.tombstoned or n not in again)
        )
        for push in pushes
    ]
