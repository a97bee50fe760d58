"""``admin::headless-audit``: what operators did for good."""

from __future__ import annotations

from typing import Any

from mercurial.node import hex

from .. import hgcompat
from ..catalog import forgotten
from ..site import Site


def run(ui: Any, repo: Any, site: Site, **opts: Any) -> int:
    with ui.formatter(b'headless-audit', hgcompat.formatter_options(opts)) as fm:
        before = 2**62
        while acts := site.catalog.read(forgotten.acts, before):
            for act in acts:
                fm.startitem()
                fm.write(b'date', b'%s', fm.formatdate((act.date, 0), b'%Y-%m-%d %H:%M UTC'))
                fm.write(b'user', b'  %s', act.user)
                fm.write(b'action', b'  %s', hgcompat.to_bytes(act.action))
                fm.write(b'subject', b' %s', hex(act.subject))
                fm.write(b'reason', b'  %s\n', act.reason)
            before = acts[-1].number
    return 0
