"""Compare the rows of bundles with their objects, reading only."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mercurial.node import hex

from ... import hgcompat
from ...backend import Backend
from ...bundles import ancestry, facts, overlay as overlays
from ...bundles.overlay import Layer
from ...catalog import bundle_rows, consistency
from ...catalog.bundle_rows import BundleRow
from ...errors import Corrupt
from ...lifecycle import upload
from ...model import Bundle
from ...store import Object, Source, object_keys
from .prefetch import Prefetch
from .report import Finding, differences, has


class Examined(NamedTuple):
    """The bundles whose keys have one prefix.

    ``orphans`` are objects without a row, ``broken`` rows with what is wrong with their objects.
    """

    bundles: int
    orphans: list[Object]
    broken: list[tuple[BundleRow, bytes]]
    findings: list[Finding]


class Examiner:
    """Reads the objects of all bundles, or of those stored after ``since`` (seconds since the
    epoch): a random ``share`` of them, from 0 to 1. Temporary files are below ``folder``.
    """

    def __init__(
        self,
        ui: Any,
        repo: Any,
        backend: Backend,
        folder: str,
        since: float | None,
        share: float,
    ) -> None:
        self._ui = ui
        self._repo = repo
        self._backend = backend
        self._source: Source = backend.store
        self._folder = folder
        self._since = since
        self._share = share

    def under(self, prefix: str) -> Examined:
        """Examine the bundles whose keys begin with ``prefix``."""
        # Rows are read before objects: the object of a row is stored before it, so that a push
        # that is recorded meanwhile is no problem.
        rows = self._backend.catalog.read(bundle_rows.under, prefix, self._since)
        sizes: dict[str, int | None] = {}
        orphans: list[Object] = []
        if self._since is None:
            objects = list(self._backend.store.objects(prefix))
            sizes.update((found.key, found.size) for found in objects)
            orphans = self._orphans(objects)
        examined = Examined(len(rows), orphans, [], [])
        chosen = {row.key for row in rows if random.random() < self._share}
        with self._prefetching([row.key for row in rows if row.key in chosen]):
            for row in rows:
                self._examine(row, row.key in chosen, sizes.get(row.key), examined)
        return examined

    def problem(self, row: BundleRow) -> bytes | None:
        """Return what is wrong with an object, or None."""
        examined = Examined(1, [], [], [])
        self._examine(row, bool(self._share), None, examined)
        return examined.broken[0][1] if examined.broken else None

    @contextlib.contextmanager
    def _prefetching(self, keys: list[str]) -> Iterator[None]:
        """Read the objects ``keys`` from a source that fetches them ahead."""
        if not keys:
            yield
            return
        folder = tempfile.mkdtemp(dir=self._folder)
        source = Prefetch(self._backend.store, keys, folder)
        self._source = source
        try:
            yield
        finally:
            self._source = self._backend.store
            source.close()
            shutil.rmtree(folder, ignore_errors=True)

    def _examine(self, row: BundleRow, read: bool, size: int | None, examined: Examined) -> None:
        """Add what is wrong with a bundle; ask the store, if the ``size`` of its object differs."""
        if size != row.size:
            size = self._backend.store.size(row.key)
        if size is None:
            examined.broken.append((row, b'the object is not in the store'))
            return
        if size != row.size:
            problem = b'the object has %d bytes, and not %d' % (size, row.size)
            examined.broken.append((row, problem))
            return
        missing = [base for base in row.bases if not has(self._repo, base)]
        if read:
            try:
                examined.findings.extend(self._read(row, compare=not missing))
            except Corrupt as exc:
                examined.broken.append((row, hgcompat.to_bytes(str(exc))))
                return
        for base in missing:
            text = b'%s, which it builds on, is not in the repository' % hex(base)
            examined.findings.append(Finding(b'base', hgcompat.to_bytes(row.key), text))

    def _read(self, row: BundleRow, compare: bool) -> Sequence[Finding]:
        """Read an object; if ``compare``, compare its row and those of its changesets with it.

        Return what differs. Raise `errors.Corrupt`.
        """
        folder = tempfile.mkdtemp(dir=self._folder)
        try:
            bundle = Bundle(row.key, row.size, row.sha512, row.head, row.bases)
            layer = overlays.fetch(self._ui, self._source, bundle, folder)
            return self._compare(row, layer, folder) if compare else ()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _compare(self, row: BundleRow, layer: Layer, folder: str) -> Sequence[Finding]:
        key = hgcompat.to_bytes(row.key)
        rows = self._backend.catalog.read(consistency.facts_of_bundle, row.id)
        held = overlays.nodes(layer)
        if [changeset.node for changeset in rows] != held:
            # Dropping the bundle is no repair: the object is intact.
            text = b'its rows name %d changesets, and not the %d that it has'
            return [Finding(b'bundle', key, text % (len(rows), len(held)))]
        path = os.path.join(folder, 'overlay.hg')
        overlays.write(self._ui, [layer], path)
        overlay = overlays.lay(self._repo, path)
        try:
            found = [
                differences(changeset, facts.of_changelog(overlay, changeset.node), key)
                for changeset in rows
            ]
            bases = ancestry.bases(overlay.changelog, held)
        finally:
            overlay.close()
        if ([row.head], sorted(row.bases)) != (held[-1:], bases):
            # By a link, clients would get the bundle without what it builds on.
            text = b'its row names another head, or other bases, than it has'
            found.append(Finding(b'bundle', key, text))
        return [finding for finding in found if finding]

    def _orphans(self, objects: list[Object]) -> list[Object]:
        old = time.time() - upload.LONGEST_PUSH  # a running push may record the others
        aged = {o.key: o for o in objects if object_keys.is_key(o.key) and o.modified < old}
        without = self._backend.catalog.read(bundle_rows.without_row, list(aged))
        return [aged[key] for key in without]
