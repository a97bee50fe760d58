"""Check that each row has its object, each object its row, and each draft its bases."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from mercurial.node import hex

from ... import hgcompat
from ...backend import Backend
from ...bundles import checks, facts, overlay as overlays
from ...bundles.overlay import FOLDER_PREFIX, Layer
from ...catalog import bundle_rows, consistency, expiry
from ...catalog.bundle_rows import BundleRow
from ...errors import Corrupt, HeadlessError
from ...lifecycle import deletion, drop_drafts, upload
from ...model import Bundle
from ...store import Object, Source, object_keys
from .. import cli, rebuild
from .prefetch import Prefetch
from .report import Report, has

#: Number of lost objects that does not make the store look like a wrong one.
_FEW = 20


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
        self._source: Source = backend.store
        self._report = report
        self._since = since
        self._share = share
        self._force = force

    def check(self) -> None:
        parts = list(object_keys.prefixes(self._backend.settings.repository))
        if self._report.repair and not self._force:
            self._check_store(parts)
        with cli.progress(self._ui, b'objects', b'parts', len(parts)) as bar:
            for number, prefix in enumerate(parts):
                bar.update(number)
                self._check_part(prefix)
        if self._share and self._since is None:
            self._check_foreign()

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

    def _check_part(self, prefix: str) -> None:
        # Rows are read before objects: the object of a row is stored before it, so that a push
        # that is recorded meanwhile is no problem.
        rows = self._backend.catalog.read(bundle_rows.under, prefix, self._since)
        sizes: dict[str, int | None] = {}
        if self._since is None:
            objects = list(self._backend.store.objects(prefix))
            sizes.update((found.key, found.size) for found in objects)
            self._check_orphans(objects)
        chosen = {row.key for row in rows if random.random() < self._share}
        with self._prefetching([row.key for row in rows if row.key in chosen]):
            for row in rows:
                self._report.bundles += 1
                read = row.key in chosen
                size = sizes.get(row.key)
                known_good = size == row.size and not read
                self._check_row(row, None if known_good else self._problem(row, read, size))

    @contextlib.contextmanager
    def _prefetching(self, keys: list[str]) -> Iterator[None]:
        """Read the objects ``keys`` from a source that fetches them ahead."""
        if not keys:
            yield
            return
        folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
        source = Prefetch(self._backend.store, keys, folder)
        self._source = source
        try:
            yield
        finally:
            self._source = self._backend.store
            source.close()
            shutil.rmtree(folder, ignore_errors=True)

    def _problem(self, row: BundleRow, read: bool, size: int | None = None) -> bytes | None:
        """Return what is wrong with an object, or None; ask the store, if its ``size`` differs."""
        if size != row.size:
            size = self._backend.store.size(row.key)
        if size is None:
            return b'the object is not in the store'
        if size != row.size:
            return b'the object has %d bytes, and not %d' % (size, row.size)
        return self._read(row) if read else None

    def _check_row(self, row: BundleRow, problem: bytes | None) -> None:
        key = hgcompat.to_bytes(row.key)
        if problem is not None:
            # The bundle may have been dropped since its row was read.
            if self._backend.catalog.read(bundle_rows.with_row, [row.key]):
                lost = sorted(self._planned(row)[1].expired)
                self._report.problem(b'object', key, problem, lambda: self._drop(row), lost)
            return
        for base in row.bases:
            if not has(self._repo, base):
                self._report.problem(
                    b'base',
                    key,
                    b'%s, which it builds on, is not in the repository' % hex(base),
                )

    def _read(self, row: BundleRow) -> bytes | None:
        """Read an object, and compare the rows of its changesets with it.

        Return what is wrong, or None.
        """
        folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
        try:
            bundle = Bundle(row.key, row.size, row.sha512, row.head, row.bases)
            layer = overlays.fetch(self._ui, self._source, bundle, folder)
            if all(has(self._repo, base) for base in row.bases):  # otherwise that is reported
                self._compare(row, layer, folder)
        except Corrupt as exc:
            return hgcompat.to_bytes(str(exc))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return None

    def _compare(self, row: BundleRow, layer: Layer, folder: str) -> None:
        rows = self._backend.catalog.read(consistency.facts_of_bundle, row.id)
        held = checks.nodes(layer)
        if [changeset.node for changeset in rows] != held:
            # Dropping the bundle is no repair: the object is intact.
            self._report.problem(
                b'bundle',
                hgcompat.to_bytes(row.key),
                b'its rows name %d changesets, and not the %d that it has' % (len(rows), len(held)),
            )
            return
        path = os.path.join(folder, 'overlay.hg')
        overlays.write(self._ui, [layer], path)
        overlay = overlays.lay(self._repo, path)
        try:
            for changeset in rows:
                there = facts.of_changelog(overlay, changeset.node)
                self._report.row(changeset, there, hgcompat.to_bytes(row.key))
        finally:
            overlay.close()

    def _drop(self, row: BundleRow) -> bool:
        """Drop the bundle. Drafts that no other bundle holds can then be pushed again."""
        with deletion.required(self._backend) as deleter:
            if self._problem(row, read=bool(self._share)) is None:
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

    def _check_orphans(self, objects: list[Object]) -> None:
        old = time.time() - upload.LONGEST_PUSH  # a running push may record the others
        keys = [o.key for o in objects if object_keys.is_key(o.key) and o.modified < old]
        for key in self._backend.catalog.read(bundle_rows.without_row, keys):
            self._report.problem(
                b'orphan',
                hgcompat.to_bytes(key),
                b'no row points at it: run headless-rebuild, or gc removes it',
                functools.partial(self._rebuild, objects, key),
            )

    def _rebuild(self, objects: list[Object], key: str) -> bool:
        [found] = (found for found in objects if found.key == key)
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
