"""``admin::headless-verify``: check that database, store and repository agree."""

from __future__ import annotations

import re
from typing import Any

from ... import hgcompat
from ...backend import Backend
from ...catalog import diagnosis, runs
from ...errors import Refused
from .. import cli
from . import public_history, pushes
from .objects import Objects
from .report import Report


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    since = cli.moment('since', opts['since']) if opts['since'] else None
    with ui.formatter(b'headless-verify', hgcompat.formatter_options(opts)) as fm:
        report = Report(fm, bool(opts['repair']))
        full, force = bool(opts['full']), bool(opts['force'])
        share = _share(opts['sample']) if opts['sample'] else float(full)
        Objects(ui, repo, backend, report, since, share, force).check()
        pushes.check(ui, repo, backend, report, since, full)
        public_history.check(ui, repo, backend, report, since, full)
        outcome = b'all is well'
        if report.problems:
            outcome = b'%d problems, %d repaired' % (report.problems, report.repaired)
        cli.summary(
            ui,
            fm,
            b'%d bundles and %d pushes checked, %s\n' % (report.bundles, report.pushes, outcome),
        )
    if report.problems > report.repaired:
        return 1
    if backend.catalog.read(diagnosis.may_write):  # not on an hgweb server
        backend.catalog.write(runs.record, 'verify')
    return 0


def _share(text: bytes) -> float:
    """Return a share, from 0 to 1, of a number of percent like ``1%`` or ``0.5``."""
    found = re.fullmatch(rb'([0-9]{1,3}(?:\.[0-9]{1,6})?)%?', text.strip())
    share = float(found.group(1)) / 100 if found else 0.0
    if not 0 < share <= 1:
        raise Refused(f'--sample takes a share like 1%, not "{hgcompat.escaped(text)}"')
    return share
