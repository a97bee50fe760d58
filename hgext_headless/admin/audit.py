"""``admin::headless-audit``: list what operators removed for good, and what was lost."""

from __future__ import annotations

from typing import Any

from mercurial import pycompat
from mercurial.node import hex

from .. import hgcompat
from ..backend import Backend
from ..catalog import bans


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    with ui.formatter(b'headless-audit', pycompat.byteskwargs(opts)) as fm:
        for act in backend.catalog.read(bans.acts):
            fm.startitem()
            fm.write(b'date', b'%s', fm.formatdate((act.date, 0), b'%Y-%m-%d %H:%M UTC'))
            fm.write(b'user', b'  %s', act.user)
            fm.write(b'action', b'  %s', hgcompat.to_bytes(act.action))
            fm.write(b'subject', b' %s', hex(act.subject))
            fm.write(b'reason', b'  %s\n', act.reason)
    return 0
