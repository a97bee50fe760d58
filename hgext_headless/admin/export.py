"""``admin::headless-export``: write drafts and pushlog to an ordinary repository."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from mercurial import changegroup, exchange, hg, pycompat, util
from mercurial.utils import urlutil

from .. import config, hgcompat, pushlog2
from ..backend import Backend
from ..bundles import changegroups, overlay
from ..catalog import bookmarks, drafts, moving, pushlog
from ..catalog.catalog import Catalog
from ..catalog.statements import batches, portions
from ..errors import Corrupt, Refused, Temporary
from ..model import Bundle, PushNodes, Selection
from . import options, revsets

#: Maximum number of bundles that are added in one transaction, and their size in bytes. A larger
#: bundle is added alone.
_BUNDLES, _BYTES = 200, 64 * 1024 * 1024
_PUSHES = 500
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
    wanted = _wanted(repo, backend, opts)
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


class _Wanted(NamedTuple):
    """What is to be exported: bundles, and in batches the ids of pushes, in order."""

    bundle_count: int
    bundles: Iterable[Bundle]
    push_count: int
    pushes: Iterable[Sequence[int]]


def _wanted(repo: Any, backend: Backend, opts: dict[str, Any]) -> _Wanted:
    catalog = backend.catalog
    if not (opts['rev'] or opts['push']):
        counts = catalog.read(moving.bundle_count), catalog.read(moving.push_count)
        return _Wanted(counts[0], _all_bundles(catalog), counts[1], _all_pushes(catalog))
    chosen = options.pushes(backend, 'push', opts['push'])
    pushes = catalog.read(pushlog.past_pushes, chosen)
    named = revsets.drafts_named(repo, backend, opts['rev']) if opts['rev'] else []
    bundles = _covering(catalog, [node for push in pushes for node in push.nodes] + named)
    held = {node for bundle in _covering(catalog, named) for node in bundle.nodes}
    brought = catalog.read(pushlog.brought, held)
    push_ids = sorted({*chosen, *(b.entry.push_id for b in brought.values())})
    return _Wanted(len(bundles), bundles, len(push_ids), batches(push_ids))


def _covering(catalog: Catalog, nodes: Sequence[bytes]) -> list[Bundle]:
    """Return bundles that together hold all drafts in ``nodes``.

    ``nodes`` are in order, parents first: the bundle of a head covers its ancestors.
    """
    uncovered = catalog.read(drafts.known, nodes)
    found: list[Bundle] = []
    for node in reversed(nodes):
        if node in uncovered:
            bundle = catalog.read(drafts.bundles_with, [node])[node]
            uncovered.difference_update(bundle.nodes)
            found.append(bundle)
    return found[::-1]


def _all_bundles(catalog: Catalog) -> Iterator[Bundle]:
    after = 0
    while page := catalog.read(moving.bundles_after, after, _BUNDLES):
        after = page[-1][0]
        yield from (bundle for _number, bundle in page)


def _all_pushes(catalog: Catalog) -> Iterator[Sequence[int]]:
    seen = 0
    while page := catalog.read(pushlog.entries, Selection(after=seen), False, _PUSHES):
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

        def missing() -> Iterator[Bundle]:
            for bundle in wanted.bundles:
                bar.increment()
                # If the head has become public, all its changesets are in public history.
                if not public(bundle.head):
                    is_there = other.changelog.hasnode(bundle.head)
                    counts['there'] += is_there
                    if not is_there:
                        yield bundle

        for portion in portions(missing(), _BUNDLES, lambda bundle: bundle.size, _BYTES):
            counts['bundles'] += len(portion)
            for bundle, why in _add(repo, backend, other, portion):
                counts['bundles'] -= 1
                counts['failed'] += 1
                fm.startitem()
                fm.data(kind=b'failed', node=bundle.head.hex().encode(), error=why.encode())
                fm.plain(b'%s\n' % hgcompat.to_bytes(why))


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
    found = backend.catalog.read(bookmarks.newest, None)
    changes = [(name, node) for name, node in found.items() if other.changelog.hasnode(node)]
    with other.wlock(), other.lock(), other.transaction(b'headless-export') as transaction:
        hgcompat.bookmarks(other).applychanges(other, transaction, changes)


def _export_pushes(
    ui: Any, fm: Any, backend: Backend, other: Any, wanted: _Wanted, counts: dict[str, int]
) -> None:
    revision = other.changelog.index.get_rev
    with pushlog2.writing(hgcompat.to_str(other.vfs.join(b'pushlog2.db'))) as file:
        with options.progress(ui, b'pushes', b'pushes', wanted.push_count) as bar:
            for push_ids in wanted.pushes:
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
