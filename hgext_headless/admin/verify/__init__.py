"""``admin::headless-verify``: check that database, store and repository agree.

- `bundles`: each row has its object, each object its row, each draft its bases
- `history`: push ids, the changesets of pushes, the log of public history
- `report`: writes problems, and repairs them
"""

from __future__ import annotations

from typing import Any

from mercurial import pycompat

from ...backend import Backend
from ...catalog import diagnosis
from .. import options
from . import bundles, history
from .report import Report


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    since = options.moment('since', opts['since']) if opts['since'] else None
    with ui.formatter(b'headless-verify', pycompat.byteskwargs(opts)) as fm:
        report = Report(fm, bool(opts['repair']))
        full, force = bool(opts['full']), bool(opts['force'])
        bundles.check_all(ui, repo, backend, report, since, full, force)
        history.check_pushes(ui, repo, backend, report, since, full)
        history.check_public_history(ui, repo, backend, report, since, full)
        outcome = b'all is well'
        if report.problems:
            problems = options.number(report.problems, 'problem')
            outcome = b'%s, %d repaired' % (problems, report.repaired)
        if report.young:
            options.summary(
                ui,
                fm,
                b'not looked at: %s without a row, younger than %d minutes, which a push may be '
                b'recording\n' % (options.number(report.young, 'object'), bundles.YOUNG // 60),
            )
        options.summary(
            ui,
            fm,
            b'%s and %s checked, %s\n'
            % (
                options.number(report.bundles, 'bundle'),
                options.number(report.pushes, 'push'),
                outcome,
            ),
        )
    if report.problems > report.repaired:
        return 1
    if backend.catalog.read(diagnosis.may_write):  # not on an hgweb server
        backend.catalog.write(diagnosis.record_run, 'verify')
    return 0
