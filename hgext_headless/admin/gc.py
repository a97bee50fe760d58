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
            if not (dry_run or opts['force']):
                _check_store(backend, before)
            if not dry_run:
                deleter.finish()
                deleter.try_again()
            kept = _remove_orphans(ui, fm, backend, deleter, before, dry_run)
            if not dry_run:
                _remove_files(ui, backend, before, abandoned)
                backend.catalog.write(deletions.purge, upload.LONGEST_PUSH)
                backend.catalog.write(diagnosis.record_run, 'gc', kept)
    return 1 if options.tell_undeleted(ui, deleter) else 0


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
    ui: Any, fm: Any, backend: Backend, deleter: delete.Deleter, before: float, dry_run: bool
) -> int:
    """Remove objects without a row that are older than ``before``; return how many are younger."""
    kept = number = 0
    would = b'would remove ' if dry_run else b''
    for orphans in options.orphans(ui, backend, b'collecting'):
        old = {found.key: found for found in orphans if found.modified < before}
        kept += len(orphans) - len(old)
        for name in old if dry_run else deleter.remove(list(old)):
            number += 1
            key, size = hgcompat.to_bytes(name), old[name].size
            fm.startitem()
            fm.data(object=key, size=size)
            options.summary(ui, fm, b'%s%s (%s)\n' % (would, key, util.bytecount(size)))
    if dry_run or ui.verbose:
        done = would or b'removed '
        options.summary(ui, fm, b'%s%s\n' % (done, options.number(number, 'object')))
    return kept


def _remove_files(ui: Any, backend: Backend, before: float, abandoned: float) -> None:
    """Remove temporary files that are older than ``abandoned``, and old entries of the cache."""
    repository = backend.settings.repository
    for number, noun, where in (
        (_remove_temporary_folders(abandoned), 'temporary folder', b''),
        (backend.store.remove_abandoned(repository, abandoned), 'temporary file', b' in the store'),
        (_collect_cache(ui, backend, max(before, abandoned)), 'entry', b' of the cache'),
    ):
        ui.note(b'removed %s%s\n' % (options.number(number, noun), where))
    # What servers tried to write, and may not delete.
    probes = backend.store.objects(stores.probes(repository))
    backend.store.delete([probe.key for probe in probes if probe.modified < abandoned])


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
