"""``admin::headless-verify``: do database, store and repository agree?"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
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


def run(ui: Any, repo: Any, site: Site, **opts: Any) -> int:
    since = console.moment('since', opts['since']) if opts['since'] else None
    with ui.formatter(b'headless-verify', hgcompat.formatter_options(opts)) as fm:
        report = _Report(fm, bool(opts['repair']))
        _Objects(ui, repo, site, report, since, bool(opts['full'])).check()
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
        self, kind: bytes, item: bytes, text: bytes, mend: Callable[[], bool] | None = None
    ) -> None:
        """Report a problem; ``mend`` repairs it, and tells whether it could."""
        repaired = self.repair and mend is not None and mend()
        self.problems += 1
        self.repaired += repaired
        self._fm.startitem()
        self._fm.write(b'kind item problem', b'%s: %s: %s', kind, item, text)
        self._fm.data(repaired=repaired)
        self._fm.plain(b' (repaired)\n' if repaired else b'\n')


class _Objects:
    """Each row has its object, and each object its row."""

    def __init__(
        self, ui: Any, repo: Any, site: Site, report: _Report, since: float | None, full: bool
    ) -> None:
        self._ui = ui
        self._repo = repo
        self._site = site
        self._report = report
        self._since = since
        self._full = full

    def check(self) -> None:
        repository = self._site.settings.repository
        if self._report.repair and not any(self._site.store.objects(f'{repository}/')):
            self._report.repair = False  # that is no store of ours
            self._ui.warn(
                b'the store has no object of this repository: nothing is repaired '
                b'(is headless.store the right one?)\n'
            )
        parts = list(names.prefixes(repository))
        with console.progress(self._ui, b'objects', b'parts', len(parts)) as bar:
            for number, prefix in enumerate(parts):
                bar.update(number)
                self._check_part(prefix)

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
            # Those that the listing lacks are asked for once more.
            size = sizes.get(row.key) or self._site.store.size(row.key)
            self._check_row(row, size)

    def _check_row(self, row: Holding, size: int | None) -> None:
        key = hgcompat.to_bytes(row.key)
        problem = None
        if size is None:
            problem = b'the object is not in the store'
        elif size != row.size:
            problem = b'the object has %d bytes, and not %d' % (size, row.size)
        elif self._full:
            problem = self._read(row)
        if problem is not None:
            # It may have been let go since its row was read.
            if self._site.catalog.read(holdings.with_row, [row.key]):
                self._report.problem(b'object', key, problem, lambda: self._forget(row))
            return
        has_node = self._repo.unfiltered().changelog.hasnode
        for base in row.bases:
            if not has_node(base):
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
            goings = [
                going
                for going in self._site.catalog.read(expiry.holding, [row.head])
                if going.bundle.key == row.key
            ]
            chosen = {node for going in goings for node in going.bundle.nodes}
            planned = letting_go.plan(self._repo, self._site, goings, chosen)
            letting_go.carry_out(self._repo, self._site, remover, goings, planned)
        return True

    def _check_orphans(self, objects: list[Object]) -> None:
        old = time.time() - _UNDER_WAY
        keys = [o.key for o in objects if names.is_key(o.key) and o.modified < old]
        for key in self._site.catalog.read(holdings.without_row, keys):
            self._report.problem(b'orphan', hgcompat.to_bytes(key), b'no row points at it: run gc')


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
    has_node = repo.unfiltered().changelog.hasnode
    last = max(counter.last_push_id, counter.highest)
    with console.progress(ui, b'pushes', b'pushes', max(0, last - start + 1)) as bar:
        for low in range(start, last + 1, audits.STEP):
            high = min(last, low + audits.STEP - 1)
            found = catalog.read(audits.push_ids, low, high)
            report.pushes += len(found)
            # An older pushlog may have had gaps.
            for push_id in range(max(low, counter.imported_push_id + 1), high + 1):
                if push_id not in found:
                    report.problem(b'push', b'%d' % push_id, b'there is no push with this id')
            for push_id, node in catalog.read(audits.without_bundle, low, high):
                if not has_node(node):
                    report.problem(
                        b'changeset',
                        hex(node),
                        b'push %d brought it; it is neither in the repository nor in a bundle'
                        % push_id,
                    )
            missing = catalog.read(audits.missing_branches, low, high)
            for push_id, branch in missing:
                report.problem(
                    b'branch',
                    branch,
                    b'is not listed for push %d' % push_id,
                    lambda push_id=push_id, branch=branch: (  # type: ignore[misc]
                        catalog.write(audits.add_branches, [(push_id, branch)]) or True
                    ),
                )
            bar.update(high - start + 1)
