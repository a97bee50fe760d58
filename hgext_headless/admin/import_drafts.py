"""``admin::headless-import``: move the drafts of an ordinary repository to bundles."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from mercurial import pycompat, scmutil, util
from mercurial.node import hex

from .. import hgcompat
from ..backend import Backend
from ..bundles import ancestry, markers, overlay as overlays
from ..bundles.ancestry import Stack
from ..bundles.write import write_checked
from ..catalog import bans, catalog, moving
from ..catalog.statements import batches, portions
from ..errors import Temporary
from ..lifecycle import upload
from ..model import Bundle, Changeset, Marker
from . import options, parallel
from .public_clone import PublicClone

#: Maximum number of bundles, and of changesets, that are recorded at once. A larger bundle is
#: recorded alone.
_BUNDLES = 50
_CHANGESETS = 1000
#: Overlays between two collections of garbage.
_COLLECTED = 10


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    started = time.monotonic()
    drafts = _select(repo, opts['rev'])
    with ui.formatter(b'headless-import', pycompat.byteskwargs(opts)) as fm:
        into = opts['into']
        clone = PublicClone(repo, backend, into, quiet=not fm.isplain()) if into else None
        if opts['dry_run']:
            _report_dry_run(ui, fm, drafts, _not_yet_stored(ui, backend, clone, drafts))
            return 0
        try:
            if clone:
                clone.prepare()
                backend = clone.backend()
            backend.make_repository()
            backend.make_store()
            todo = _not_stored(ui, backend, drafts)
            under = clone.opened if clone else repo
            total = _import(ui, repo, under, backend, drafts, todo)
            _import_bookmarks(ui, repo, backend, drafts)
            if clone:
                clone.pull()
        except Temporary as exc:
            raise Temporary(f'{exc} (the import will go on from here)') from exc
        _report(ui, fm, drafts, todo, total, time.monotonic() - started)
    return 0


class Drafts:
    """The drafts ``revs`` of a repository, which must include all their draft ancestors.

    ``heads`` are revision numbers.
    """

    def __init__(self, repo: Any, revs: Any) -> None:
        self._changelog = repo.unfiltered().changelog
        self._revs = frozenset(revs)
        self.heads: Sequence[int] = list(repo.revs(b'heads(%ld)', revs))

    def __len__(self) -> int:
        return len(self._revs)

    def __contains__(self, node: bytes) -> bool:
        return self._changelog.rev(node) in self._revs

    def stack(self, head: int) -> Stack:
        """Return the stack of the draft head with revision number ``head``."""
        changelog = self._changelog
        nodes = ancestry.above(changelog, [changelog.node(head)], lambda n: n not in self)
        return Stack(tuple(nodes), tuple(ancestry.bases(changelog, nodes)))


def _select(repo: Any, revs: list[bytes]) -> Drafts:
    """Return the visible drafts in the revsets ``revs``, with their draft ancestors, or all."""
    if not revs:
        return Drafts(repo, repo.revs(b'draft()'))
    return Drafts(repo, repo.revs(b'::%ld and draft()', scmutil.revrange(repo, revs)))


def _not_yet_stored(
    ui: Any, backend: Backend, clone: PublicClone | None, drafts: Drafts
) -> list[int]:
    """Do what `_not_stored` does, for a database that may not exist, without creating it."""
    if clone and clone.found:
        backend = clone.backend()
    elif clone and backend.settings.embedded_database:
        return list(drafts.heads)
    if not catalog.is_made(backend.settings.database):
        return list(drafts.heads)
    return _not_stored(ui, backend, drafts)


def _not_stored(ui: Any, backend: Backend, drafts: Drafts) -> list[int]:
    """Return the heads whose bundles are not recorded, and may be.

    Drafts that were removed for good are left out, and so are their descendants.
    """
    todo: list[int] = []
    for batch in batches(drafts.heads):
        stacks = {head: drafts.stack(head) for head in batch}
        stored = backend.catalog.read(moving.stored, [s.head for s in stacks.values()])
        nodes = {node for stack in stacks.values() for node in stack.nodes}
        gone = backend.catalog.read(bans.among, nodes)
        for head, stack in stacks.items():
            if (stack.head, stack.bases, len(stack.nodes)) in stored:
                continue
            if gone.isdisjoint(stack.nodes):
                todo.append(head)
            else:
                text = b'left out %s: it has a changeset that was removed for good\n'
                ui.warn(text % hex(stack.head))
    return todo


def _import(
    ui: Any, repo: Any, under: Any, backend: Backend, drafts: Drafts, todo: Sequence[int]
) -> Counter[str]:
    """Store and record the bundles of the heads ``todo``, checked over the repository ``under``."""
    total: Counter[str] = Counter()
    overlays.silence_outgoing_hooks(repo.ui)
    gc.freeze()  # so that each collection below looks at new objects only
    name = backend.settings.repository
    count = parallel.processes(ui) if len(todo) > _BUNDLES else 1
    stacks = portions(map(drafts.stack, todo), _BUNDLES, lambda s: len(s.nodes), _CHANGESETS)
    bar = options.progress(ui, b'importing', b'heads', len(todo))
    with overlays.scratch() as folder, bar:

        def pack(batch: Sequence[Stack]) -> _Packed:
            return _packed(repo, under, name, batch, tempfile.mkdtemp(dir=folder))

        for packed in parallel.shared(count, pack, stacks):
            total += _store(backend, packed)
            bar.increment(len(packed.files))
    return total


class _Packed(NamedTuple):
    """The bundles of a batch, with the paths of their files in ``folder``."""

    folder: str
    files: list[tuple[Bundle, str]]
    changesets: list[Changeset]
    markers: list[Marker]


def _packed(repo: Any, under: Any, name: str, batch: Sequence[Stack], folder: str) -> _Packed:
    """Write the bundles of ``batch``, of the repository called ``name``, into ``folder``."""
    changesets: dict[bytes, Changeset] = {}
    files: list[tuple[Bundle, str]] = []
    for number, stack in enumerate(batch, 1):
        bundle, path, brought = write_checked(repo, under, name, stack, folder)
        if number % _COLLECTED == 0:
            # Each overlay leaves the index of a changelog in a reference cycle. It has few
            # objects, so that hundreds would pile up before a collection.
            gc.collect()
        files.append((bundle, path))
        changesets.update((c.node, c) for c in brought)
    found = repo.obsstore.relevantmarkers(changesets) if repo.obsstore else ()
    return _Packed(folder, files, list(changesets.values()), list(map(markers.pack, found)))


def _store(backend: Backend, packed: _Packed) -> Counter[str]:
    """Store and record a batch, and remove its files."""
    bundles = [bundle for bundle, _path in packed.files]
    recorded = upload.stored(
        backend, packed.files, moving.add, packed.changesets, bundles, packed.markers
    )
    shutil.rmtree(packed.folder, ignore_errors=True)
    return recorded


def _import_bookmarks(ui: Any, repo: Any, backend: Backend, drafts: Drafts) -> None:
    bookmarks = {name: node for name, node in hgcompat.bookmarks(repo).items() if node in drafts}
    if not bookmarks:
        return
    for name in backend.catalog.write(moving.record_bookmarks, bookmarks):
        ui.warn(
            b"bookmark '%s' is on another draft already, and stays there\n"
            % hgcompat.escaped_bytes(name)
        )


def _report_dry_run(ui: Any, fm: Any, drafts: Drafts, todo: Sequence[int]) -> None:
    stored = len(drafts.heads) - len(todo)
    fm.startitem()
    fm.data(heads=len(drafts.heads), changesets=len(drafts), stored=stored)
    options.summary(
        ui,
        fm,
        b'%s with %s: %d stored already, %d would be imported\n'
        % (
            options.number(len(drafts.heads), 'draft head'),
            options.number(len(drafts), 'changeset'),
            stored,
            len(todo),
        ),
    )


def _report(
    ui: Any, fm: Any, drafts: Drafts, todo: Sequence[int], total: Counter[str], seconds: float
) -> None:
    stored = len(drafts.heads) - len(todo)
    rate = total['bundles'] / seconds
    fm.startitem()
    fm.data(
        heads=len(drafts.heads),
        stored=stored,
        bundles=total['bundles'],
        changesets=total['changesets'],
        bytes=total['size'],
        seconds=round(seconds, 3),
        rate=round(rate, 3),
    )
    if not todo:
        text = b'nothing to import: %s stored already\n' % options.number(stored, 'draft head')
        options.summary(ui, fm, text)
        return
    options.summary(
        ui,
        fm,
        b'imported %s with %s, %s, in %.1f seconds (%.1f bundles/s); %s stored already\n'
        % (
            options.number(total['bundles'], 'bundle'),
            options.number(total['changesets'], 'changeset'),
            util.bytecount(total['size']),
            seconds,
            rate,
            options.number(stored, 'head'),
        ),
    )
