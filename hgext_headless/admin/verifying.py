"""``admin::headless-verify``: do database, store and repository agree?"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from mercurial.node import hex

from .. import hgcompat
from ..bundles import overlay as overlays
from ..bundles.overlay import FOLDER_PREFIX
from ..catalog import audits, expiry, holdings
from ..catalog.holdings import Holding
from ..model import Bundle, Corrupt
from ..site import Site
from ..store import Object, names
from . import console, letting_go, removal

#: An object without a row is a push that is under way, or one that died and is left to gc.
_UNDER_WAY = 86400
#: Lost objects of which nobody asks whether it is the right store.
_FEW = 20


def run(ui: Any, repo: Any, site: Site, **opts: Any) -> int:
    since = console.moment('since', opts['since']) if opts['since'] else None
    with ui.formatter(b'headless-verify', hgcompat.formatter_options(opts)) as fm:
        report = _Report(fm, bool(opts['repair']))
        full, force = bool(opts['full']), bool(opts['force'])
        _Objects(ui, repo, site, report, since, full, force).check()
        _pushes(ui, repo, site, report, since)
        outcome = b'all is well'
        if report.problems:
            outcome = b'%d problems, %d repaired' % (report.problems, report.repaired)
        console.summary(
            ui,
            fm,
            b'%d bundles and %d pushes checked, %s\n' % (report.bundles, report.pushes, outcome),
        )
    return 1 if report.problems > report.repaired else 0


class _Report:
    """What was found, a line or an object each."""

    def __init__(self, fm: Any, repair: bool) -> None:
        self._fm = fm
        self.repair = repair
        self.problems = self.repaired = self.bundles = self.pushes = 0

    def problem(
        self,
        kind: bytes,
        item: bytes,
        text: bytes,
        mend: Callable[[], bool] | None = None,
        lost: Sequence[bytes] = (),
    ) -> None:
        """Report a problem; ``mend`` repairs it, and tells whether it could. ``lost`` are
        drafts that only what has the problem holds."""
        repaired = self.repair and mend is not None and mend()
        self.problems += 1
        self.repaired += repaired
        self._fm.startitem()
        self._fm.write(b'kind item problem', b'%s: %s: %s', kind, item, text)
        self._fm.data(repaired=repaired)
        drafts = [hex(node) for node in lost]
        self._fm.data(drafts=self._fm.formatlist(drafts, b'draft'))
        self._fm.plain(b' (repaired)\n' if repaired else b'\n')
        for draft in drafts:
            self._fm.plain(b'  holds draft %s\n' % draft)


class _Objects:
    """Each row has its object, and each object its row."""

    def __init__(
        self,
        ui: Any,
        repo: Any,
        site: Site,
        report: _Report,
        since: float | None,
        full: bool,
        force: bool,
    ) -> None:
        self._ui = ui
        self._repo = repo
        self._site = site
        self._report = report
        self._since = since
        self._full = full
        self._force = force

    def check(self) -> None:
        parts = list(names.prefixes(self._site.settings.repository))
        if self._report.repair and not self._force:
            self._check_store(parts)
        with console.progress(self._ui, b'objects', b'parts', len(parts)) as bar:
            for number, prefix in enumerate(parts):
                bar.update(number)
                self._check_part(prefix)

    def _check_store(self, parts: list[str]) -> None:
        """Repair nothing where much is missing: then it is not the store of these rows."""
        rows = missing = 0
        for prefix in parts:
            keys = {row.key for row in self._site.catalog.read(holdings.under, prefix, None)}
            rows += len(keys)
            missing += len(keys.difference(o.key for o in self._site.store.objects(prefix)))
        if missing > rows // 2 or missing > max(_FEW, rows // 10):
            self._report.repair = False
            self._ui.warn(
                b'%d of %d objects are not in the store: nothing is repaired '
                b'(is headless.store the right one? --force repairs)\n' % (missing, rows)
            )

    def _check_part(self, prefix: str) -> None:
        # The rows first: a row that is written meanwhile has its object before it.
        rows = self._site.catalog.read(holdings.under, prefix, self._since)
        sizes: dict[str, int | None] = {}
        if self._since is None:
            objects = list(self._site.store.objects(prefix))
            sizes.update((found.key, found.size) for found in objects)
            self._check_orphans(objects)
        for row in rows:
            self._report.bundles += 1
            known_good = sizes.get(row.key) == row.size and not self._full
            self._check_row(row, None if known_good else self._problem(row))

    def _problem(self, row: Holding) -> bytes | None:
        """What is wrong with an object, by asking the store for it."""
        size = self._site.store.size(row.key)
        if size is None:
            return b'the object is not in the store'
        if size != row.size:
            return b'the object has %d bytes, and not %d' % (size, row.size)
        return self._read(row) if self._full else None

    def _check_row(self, row: Holding, problem: bytes | None) -> None:
        key = hgcompat.to_bytes(row.key)
        if problem is not None:
            # It may have been let go since its row was read.
            if self._site.catalog.read(holdings.with_row, [row.key]):
                lost = sorted(self._planned(row)[1].gone)
                self._report.problem(b'object', key, problem, lambda: self._forget(row), lost)
            return
        for base in row.bases:
            if not _has(self._repo, base):
                self._report.problem(
                    b'base',
                    key,
                    b'%s, which it builds on, is not in the repository' % hex(base),
                )

    def _read(self, row: Holding) -> bytes | None:
        folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
        try:
            bundle = Bundle(row.key, row.size, row.sha512, row.head, row.bases)
            overlays.fetch(self._ui, self._site.store, bundle, folder)
        except Corrupt as exc:
            return hgcompat.to_bytes(str(exc))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return None

    def _forget(self, row: Holding) -> bool:
        """Let the bundle go: what no other one holds can be pushed again."""
        with removal.required(self._site) as remover:
            if self._problem(row) is None:
                return True  # somebody else has put it back
            goings, planned = self._planned(row)
            letting_go.carry_out(self._repo, self._site, remover, goings, planned)
        return True

    def _planned(self, row: Holding) -> tuple[list[expiry.Going], letting_go.Plan]:
        """What letting a bundle go would mean."""
        holding = self._site.catalog.read(expiry.holding, [row.head])
        goings = [going for going in holding if going.bundle.key == row.key]
        chosen = {node for going in goings for node in going.bundle.nodes}
        return goings, letting_go.plan(self._repo, self._site, goings, chosen)

    def _check_orphans(self, objects: list[Object]) -> None:
        old = time.time() - _UNDER_WAY
        keys = [o.key for o in objects if names.is_key(o.key) and o.modified < old]
        for key in self._site.catalog.read(holdings.without_row, keys):
            self._report.problem(b'orphan', hgcompat.to_bytes(key), b'no row points at it: run gc')


def _has(repo: Any, node: bytes) -> bool:
    """Whether a changeset is in the repository; it may just have come."""
    if not repo.unfiltered().changelog.hasnode(node):
        repo.invalidateall()
    found: bool = repo.unfiltered().changelog.hasnode(node)
    return found


def _pushes(ui: Any, repo: Any, site: Site, report: _Report, since: float | None) -> None:
    """Ids have no gap, and what pushes brought is there."""
    catalog = site.catalog
    counter = catalog.read(audits.counter)
    if counter.highest > counter.last_push_id:
        report.problem(
            b'counter',
            b'%d' % counter.last_push_id,
            b'is below the highest push id, %d' % counter.highest,
            lambda: catalog.write(audits.set_counter, counter.highest) or True,
        )
    start = 1 if since is None else catalog.read(audits.first_push_since, since)
    with console.progress(ui, b'pushes', b'pushes', counter.last_push_id - start + 1) as bar:
        seen = start - 1
        while found := catalog.read(audits.push_ids, seen):
            for push_id in found:
                _check_gap(report, counter, seen, push_id)
                seen = push_id
            report.pushes += len(found)
            _check_brought(repo, site, report, found[0], seen)
            bar.update(seen - start + 1)
        _check_gap(report, counter, seen, counter.last_push_id + 1)


def _check_gap(report: _Report, counter: audits.Counter, seen: int, push_id: int) -> None:
    """An older pushlog may have had gaps."""
    first = max(seen, counter.imported_push_id) + 1
    if first < push_id:
        ids = b'%d' % first if first == push_id - 1 else b'%d-%d' % (first, push_id - 1)
        report.problem(b'push', ids, b'there is no push with this id')


def _check_brought(repo: Any, site: Site, report: _Report, low: int, high: int) -> None:
    """What some pushes brought is there, and is found by its branch."""
    catalog = site.catalog
    for push_id, node in catalog.read(audits.without_bundle, low, high):
        if not _has(repo, node):
            report.problem(
                b'changeset',
                hex(node),
                b'push %d brought it; it is neither in the repository nor in a bundle' % push_id,
            )
    for push_id, branch in catalog.read(audits.missing_branches, low, high):

        def add(push_id: int = push_id, branch: bytes = branch) -> bool:
            catalog.write(audits.add_branches, [(push_id, branch)])
            return True

        report.problem(b'branch', branch, b'is not listed for push %d' % push_id, add)
