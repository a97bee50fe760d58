"""Where each push and each answer is told of, beside the blackbox: a line of JSON."""

from __future__ import annotations

import json
import syslog
import time
from collections.abc import Mapping
from typing import Any

from mercurial.utils import procutil

from .hgcompat import to_bytes, to_str

_SECTION = b'headless'
#: Values of ``headless.events``.
NOWHERE, STDERR, SYSLOG = b'none', b'stderr', b'syslog'
#: Maximum length of a value: some come from clients.
_LONGEST = 300


def tell(ui: Any, facts: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
    """Tell of an event as the settings say. Nothing is raised if that fails."""
    repository = to_str(ui.config(_SECTION, b'repository') or b'-')
    where = ui.config(_SECTION, b'events')
    if where in (STDERR, SYSLOG):
        _write(ui, where, _line(repository, facts, seconds))


def _line(repository: str, facts: Mapping[str, Any], seconds: Mapping[str, float]) -> str:
    def plain(fact: Any) -> Any:
        if isinstance(fact, (int, float)):
            return fact
        text = to_str(fact) if isinstance(fact, bytes) else str(fact)
        return text[:_LONGEST].encode('utf-8', 'backslashreplace').decode('utf-8')

    line = {'time': round(time.time(), 3), 'repository': repository}
    line.update((name, plain(fact)) for name, fact in facts.items())
    line['seconds'] = {name: round(duration, 3) for name, duration in seconds.items()}
    return json.dumps(line)


def _write(ui: Any, where: bytes, line: str) -> None:
    if where == SYSLOG:
        syslog.openlog('hgext_headless', syslog.LOG_PID, syslog.LOG_DAEMON)
        syslog.syslog(syslog.LOG_INFO, line)
        return
    if b'REQUEST_METHOD' not in ui.environ:
        return  # over ssh and by path, standard error is the client's
    try:
        procutil.stderr.write(to_bytes(line + '\n'))
        procutil.stderr.flush()
    except OSError:
        return
