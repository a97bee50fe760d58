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
    with ui.formatter(b'headless-verify', pycompat.byteskwargs(opts)) as fm:
        report = Report(ui, fm, repo, backend, opts)
        bundles.check_bundles(report, bool(opts['force']))
        history.check_pushes(report)
        history.check_public_history(report)
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
