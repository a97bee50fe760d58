"""``admin::headless-verify``: do database, store and repository agree?"""

from __future__ import annotations

from typing import Any

from .. import hgcompat
from ..site import Site
from . import console, verifying_pushes
from .findings import Report
from .verifying_objects import Objects


def run(ui: Any, repo: Any, site: Site, **opts: Any) -> int:
    since = console.moment('since', opts['since']) if opts['since'] else None
    with ui.formatter(b'headless-verify', hgcompat.formatter_options(opts)) as fm:
        report = Report(fm, bool(opts['repair']))
        full, force = bool(opts['full']), bool(opts['force'])
        Objects(ui, repo, site, report, since, full, force).check()
        verifying_pushes.check(ui, repo, site, report, since, full)
        outcome = b'all is well'
        if report.problems:
            outcome = b'%d problems, %d repaired' % (report.problems, report.repaired)
        console.summary(
            ui,
            fm,
            b'%d bundles and %d pushes checked, %s\n' % (report.bundles, report.pushes, outcome),
        )
    return 1 if report.problems > report.repaired else 0
