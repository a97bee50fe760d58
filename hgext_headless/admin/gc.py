"""``admin::headless-gc``: remove objects without a row, and temporary files left behind."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import time
from typing import Any

from mercurial import pycompat, util

from .. import hgcompat, store as stores
from ..backend import Backend
from ..bundles.overlay import FOLDER_PREFIX
from ..catalog import bundle_rows, deletions, diagnosis, statements
from ..errors import Refused
from ..lifecycle import delete, upload
from ..store import Object
from . import options

#: Number of objects that may be removed whatever their share of all objects.
_FEW = 20


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    # The files of this machine are as old as its own clock says.
    abandoned = time.time() - upload.LONGEST_PUSH
    # The database's clock has whole seconds: what is from the present one counts too.
    before = backend.catalog.read(statements.now) + 1 - options.age('grace', opts['grace'])
    dry_run = bool(opts['dry_run'])
    with delete.opened(backend) as deleter:
        if deleter is None:
            ui.warn(b'another gc, expire or obliterate is running in this repository\n')
            return 1
        with ui.formatter(b'headless-gc', pycompat.byteskwargs(opts)) as fm:
            listing = _Listing(ui, fm, dry_run)
            if not (dry_run or opts['force']):
                _check_store(backend, before)
            if not dry_run:
                deleter.finish()
                deleter.try_again()
            kept = _remove_orphans(ui, backend, deleter, before, dry_run, listing)
            listing.end()
            if not dry_run:
                listing.count('temporary folder', _remove_temporary_folders(abandoned))
                left = backend.store.remove_abandoned(backend.settings.repository, abandoned)
                listing.count('temporary file', left, b' in the store')
                left = _collect_cache(ui, backend, max(before, abandoned))
                listing.count('entry', left, b' of the cache')
                backend.catalog.write(deletions.purge, upload.LONGEST_PUSH)
                _remove_probes(backend, abandoned)
                backend.catalog.write(diagnosis.record_run, 'gc', kept)
    return 1 if options.tell_undeleted(ui, deleter) else 0


class _Listing:
    """Writes what was removed: each object by name, and numbers if the output is verbose.

    A dry run looks at objects only.
    """

    def __init__(self, ui: Any, fm: Any, dry_run: bool) -> None:
        self._ui = ui
        self._would = b'would remove ' if dry_run else b''
        self._fm = fm
        self._objects = 0

    def object(self, found: Object) -> None:
        self._objects += 1
        key = hgcompat.to_bytes(found.key)
        if self._fm.isplain():
            self._ui.status(b'%s%s (%s)\n' % (self._would, key, util.bytecount(found.size)))
        else:
            self._fm.startitem()
            self._fm.data(object=key, size=found.size)

    def end(self) -> None:
        """Write the number of objects."""
        if self._fm.isplain():
            say = self._ui.status if self._would else self._ui.note
            done = self._would or b'removed '
            say(b'%s%s\n' % (done, options.number(self._objects, 'object')))

    def count(self, noun: str, number: int, where: bytes = b'') -> None:
        self._ui.note(b'removed %s%s\n' % (options.number(number, noun), where))


def _check_store(backend: Backend, before: float) -> None:
    """Raise `Refused` if more than half of the objects would be removed.

    Then the store is probably another database's.
    """
    found = orphans = 0
    for prefix in stores.parts(backend.store, backend.settings.repository):
        objects = list(backend.store.objects(prefix))
        found += sum(stores.is_key(each.key) for each in objects)
        old = (each for each in objects if each.modified < before)
        orphans += len(delete.without_row(backend, old))
    if orphans > max(_FEW, found // 2):
        raise Refused(
            f'this database knows nothing of {orphans} of the {found} objects in the store: are '
            'headless.store, .database and .repository right? (--force removes them)'
        )


def _remove_orphans(
    ui: Any,
    backend: Backend,
    deleter: delete.Deleter,
    before: float,
    dry_run: bool,
    listing: _Listing,
) -> int:
    """Remove objects without a row that are older than ``before``; return how many are younger."""
    kept = 0
    for orphans in options.orphans(ui, backend, b'collecting'):
        old = {found.key: found for found in orphans if found.modified < before}
        kept += len(orphans) - len(old)
        for key in old if dry_run else deleter.remove(list(old)):
            listing.object(old[key])
    return kept


def _remove_probes(backend: Backend, before: float) -> None:
    """Remove what servers tried to write, and may not delete."""
    found = backend.store.objects(stores.probes(backend.settings.repository))
    backend.store.delete([probe.key for probe in found if probe.modified < before])


def _remove_temporary_folders(before: float) -> int:
    """Remove folders of pushes and pulls that died, on this machine and of this user."""
    removed = 0
    for folder in glob.glob(os.path.join(tempfile.gettempdir(), FOLDER_PREFIX + '*')):
        try:
            entries = [folder, *(entry.path for entry in os.scandir(folder))]
            newest = max(os.lstat(path).st_mtime for path in entries)
            if newest < before and os.lstat(folder).st_uid == os.geteuid():
                shutil.rmtree(folder)
                removed += 1
        except OSError:  # another process is using or removing it
            continue
    return removed


def _collect_cache(ui: Any, backend: Backend, before: float) -> int:
    repository = backend.settings.repository

    def is_live(digests: list[str]) -> set[str]:
        keys = {stores.key(repository, digest): digest for digest in digests}
        return {keys[key] for key in backend.catalog.read(bundle_rows.with_row, list(keys))}

    removed, failure = backend.cache.collect(is_live, before)
    if failure is not None:
        text = f'{backend.settings.cache_dir}: old entries of the cache stay: {failure.strerror}'
        ui.warn(b'%s\n' % hgcompat.to_bytes(text))
    return removed
