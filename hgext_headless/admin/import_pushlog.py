"""``admin::headless-import-pushlog``: import the pushes of an older pushlog."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from mercurial import pycompat

from .. import hgcompat, pushlog2
from ..backend import Backend
from ..bundles import check
from ..catalog import moving
from ..errors import Refused
from ..model import Changeset
from . import options


def run(
    ui: Any,
    repo: Any,
    backend: Backend,
    path: bytes | None = None,
    dry_run: bool = False,
    **opts: Any,
) -> int:
    file = os.path.abspath(hgcompat.to_str(path or repo.vfs.join(b'pushlog2.db')))
    if not os.path.isfile(file):
        raise Refused(f'there is no file {file}')
    of_changeset = _reader(repo)
    counts = dict.fromkeys(('recorded', 'there', 'conflicts', 'unknown'), 0)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(pushlog2.reading(file))
        fm = stack.enter_context(
            ui.formatter(b'headless-import-pushlog', pycompat.byteskwargs(opts))
        )
        total, last = source.check()
        if not dry_run:
            backend.make_repository()
        with options.progress(ui, b'pushes', b'pushes', total) as bar:
            for batch in source.pushes(last):
                if dry_run:
                    new, conflicts = backend.catalog.read(moving.compare, batch)
                    unknown = backend.catalog.read(moving.unknown, new, of_changeset)
                else:
                    new, conflicts, unknown = backend.catalog.write(
                        moving.record_pushes, batch, last, of_changeset
                    )
                options.show_conflicts(fm, conflicts, b'the file says')
                counts['recorded'] += len(new)
                counts['there'] += len(batch) - len(new) - len(conflicts)
                counts['conflicts'] += len(conflicts)
                counts['unknown'] += unknown
                bar.increment(len(batch))
        if not dry_run:
            backend.catalog.write(moving.finish)
        fm.startitem()
        fm.data(kind=b'total', dryrun=bool(dry_run), **counts)
        options.summary(
            ui,
            fm,
            b'%s %s; %d there already, %d in conflict\n'
            % (
                b'would record' if dry_run else b'recorded',
                options.number(counts['recorded'], 'push'),
                counts['there'],
                counts['conflicts'],
            ),
        )
        if counts['unknown']:
            options.summary(
                ui,
                fm,
                b'%s not in this repository: the pushlog has nothing but the hashes\n'
                % options.number(counts['unknown'], 'changeset'),
            )
    return 1 if counts['conflicts'] else 0


def _reader(repo: Any) -> moving.Facts:
    # Hidden and secret changesets are not imported, and no server has them. Only their nodes are
    # recorded: with more, their push would not be shown until they can be served.
    served = repo.filtered(b'served')
    has_node = served.changelog.hasnode

    def read(node: bytes) -> Changeset | None:
        return check.of_changelog(served, node) if has_node(node) else None

    return read
