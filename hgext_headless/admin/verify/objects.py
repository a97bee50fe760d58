"""Check that each row has its object, each object its row, and each draft its bases."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from ... import hgcompat
from ...backend import Backend
from ...bundles.overlay import FOLDER_PREFIX
from ...catalog import bundle_rows, expiry
from ...catalog.bundle_rows import BundleRow
from ...errors import HeadlessError
from ...lifecycle import deletion, drop_drafts
from ...store import Object, object_keys
from .. import cli, parallel, rebuild
from .examine import Examined, Examiner
from .report import Report

#: Number of lost objects that does not make the store look like a wrong one.
_FEW = 20
#: Seconds that reading an object takes, and those that another process needs before its first.
_SECONDS, _START = 0.01, 2


class Objects:
    """A check of all bundles, or of those stored after ``since`` (seconds since the epoch).

    A random ``share`` of the objects, from 0 to 1, is read.
    """

    def __init__(
        self,
        ui: Any,
        repo: Any,
        backend: Backend,
        report: Report,
        since: float | None,
        share: float,
        force: bool,
    ) -> None:
        self._ui = ui
        self._repo = repo
        self._backend = backend
        self._report = report
        self._since = since
        self._share = share
        self._force = force
        self._folder = ''

    def check(self) -> None:
        # Other processes may be killed: their folders are in this one.
        with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as self._folder:
            self._check()
        if self._share and self._since is None:
            self._check_foreign()

    def _check(self) -> None:
        parts = list(object_keys.prefixes(self._backend.settings.repository))
        if self._report.repair and not self._force:
            self._check_store(parts)
        count = self._backend.catalog.read(bundle_rows.count, self._since)
        seconds = max(0, count * self._share * _SECONDS - _START)
        self._examiner()  # what it needs is imported once, not in each process
        with cli.progress(self._ui, b'objects', b'parts', len(parts)) as bar:
            for examined in parallel.shared(self._ui, seconds, self._examined, parts):
                self._tell(examined)
                bar.increment()

    def _examiner(self) -> Examiner:
        # With a backend of its own, for this process.
        backend = Backend(self._repo)
        return Examiner(self._ui, self._repo, backend, self._folder, self._since, self._share)

    def _examined(self, prefixes: Sequence[str]) -> Iterator[Examined]:
        return map(self._examiner().under, prefixes)

    def _check_store(self, parts: list[str]) -> None:
        """Disable repair if many objects are missing: it may be the wrong store."""
        rows = missing = 0
        for prefix in parts:
            keys = {row.key for row in self._backend.catalog.read(bundle_rows.under, prefix, None)}
            rows += len(keys)
            missing += len(keys.difference(o.key for o in self._backend.store.objects(prefix)))
        if missing > rows // 2 or missing > max(_FEW, rows // 10):
            self._report.repair = False
            self._ui.warn(
                b'%d of %d objects are not in the store: nothing is repaired '
                b'(is headless.store the right one? --force repairs)\n' % (missing, rows)
            )

    def _tell(self, examined: Examined) -> None:
        self._report.bundles += examined.bundles
        for found in examined.orphans:
            self._report.problem(
                b'orphan',
                hgcompat.to_bytes(found.key),
                b'no row points at it: run headless-rebuild, or gc removes it',
                functools.partial(self._rebuild, found),
            )
        for row, problem in examined.broken:
            # The bundle may have been dropped since its row was read.
            if self._backend.catalog.read(bundle_rows.with_row, [row.key]):
                lost = sorted(self._planned(row)[1].expired)
                fix = functools.partial(self._drop, row)
                self._report.problem(b'object', hgcompat.to_bytes(row.key), problem, fix, lost)
        for finding in examined.findings:
            self._report.problem(*finding)

    def _drop(self, row: BundleRow) -> bool:
        """Drop the bundle. Drafts that no other bundle holds can then be pushed again."""
        with deletion.required(self._backend) as deleter:
            if self._examiner().problem(row) is None:
                return True  # the object is there again
            candidates, planned = self._planned(row)
            drop_drafts.carry_out(self._repo, self._backend, deleter, candidates, planned)
        return True

    def _planned(self, row: BundleRow) -> tuple[list[expiry.Candidate], drop_drafts.Plan]:
        """Return the candidates and the plan for dropping a bundle."""
        holding = self._backend.catalog.read(expiry.holding, [row.head])
        candidates = [candidate for candidate in holding if candidate.bundle.key == row.key]
        chosen = {node for candidate in candidates for node in candidate.bundle.nodes}
        return candidates, drop_drafts.plan(self._repo, self._backend, candidates, chosen)

    def _rebuild(self, found: Object) -> bool:
        try:
            rebuilt = rebuild.rebuilt(self._ui, self._repo, self._backend, found, record=True)
        except HeadlessError:  # "hg admin::headless-rebuild" reports it
            return False
        return rebuilt is not None

    def _check_foreign(self) -> None:
        """Report objects with the repository's prefix whose keys are not those of bundles."""
        for found in self._backend.store.objects(f'{self._backend.settings.repository}/'):
            if not object_keys.is_key(found.key):
                self._report.problem(
                    b'foreign', hgcompat.to_bytes(found.key), b'is the name of no bundle'
                )
