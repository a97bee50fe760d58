"""``admin::headless-drop``: remove all that the database and the store have of a repository."""

from __future__ import annotations

from typing import Any

from mercurial import util

from .. import hgcompat
from ..backend import Backend
from ..catalog import epochs, statements, statistics
from ..catalog.statements import batches
from ..errors import Refused
from ..lifecycle import delete
from . import options

#: Seconds without a push after which no ``--force`` is needed.
_QUIET = 86400


def run(ui: Any, repo: Any, backend: Backend, name: bytes, **opts: Any) -> int:
    wanted = hgcompat.to_str(name)
    found = [r for r in backend.catalog.read(statistics.by_repository) if r.name == wanted]
    if not found:
        raise Refused(f'the database has no repository "{hgcompat.escaped(name)}"')
    [there] = found
    recent = backend.catalog.read(statements.now) - _QUIET
    if (there.last_push or 0) > recent and not opts['force']:
        raise Refused(
            f'"{wanted}" was pushed to within the last day: stop its servers first '
            '(--force drops it)'
        )
    other = backend.of(wanted)
    described = _described(there, other.catalog.read(statistics.pushed, None).pushes)
    if opts['dry_run']:
        ui.status(b'would drop %s\n' % described)
        return 0
    # Rows before objects, and the repository's own row last: a run that is killed goes on.
    with delete.required(other) as deleter:
        with options.progress(ui, b'dropping', b'rows', None) as bar:
            while number := other.catalog.write(epochs.drop_rows):
                bar.increment(number)
        keys = [each.key for each in other.store.objects(f'{wanted}/')]
        with options.progress(ui, b'dropping', b'objects', len(keys)) as bar:
            for batch in batches(keys):
                deleter.remove(batch)
                bar.increment(len(batch))
        if options.tell_undeleted(ui, deleter):
            return 1
        other.catalog.write(epochs.drop)
    ui.status(b'dropped %s\n' % described)
    return 0


def _described(there: Any, pushes: int) -> bytes:
    return b'"%s": %s, %s with %s' % (
        hgcompat.to_bytes(there.name),
        options.number(pushes, 'push'),
        options.number(there.objects, 'object'),
        util.bytecount(there.bytes),
    )
