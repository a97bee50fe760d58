"""Events as lines."""

from __future__ import annotations

import io
import json
import syslog
from types import SimpleNamespace

import pytest
from mercurial.utils import procutil

from hgext_headless import timings


@pytest.fixture
def ui():
    settings = {b'repository': b'try', b'events': b'none'}
    return SimpleNamespace(
        settings=settings,
        environ={b'REQUEST_METHOD': b'GET'},
        config=lambda _section, item: settings[item],
    )


FACTS = {'event': 'push', 'outcome': 'ok', 'user': 'zo\udce9\n"', 'bytes': 7, 'bundle': b'\xff'}


def test_line_for_syslog(ui, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(syslog, 'syslog', lambda _priority, line: lines.append(line))
    timings.tell(ui, FACTS, {'total': 1.23456})
    assert lines == []
    ui.settings[b'events'] = b'syslog'
    timings.tell(ui, FACTS, {'total': 1.23456})
    [line] = lines
    assert '\n' not in line
    found = json.loads(line)
    assert found.pop('time') > 1_700_000_000
    assert found == {
        'repository': 'try',
        'event': 'push',
        'outcome': 'ok',
        'user': 'zo\\udce9\n"',
        'bytes': 7,
        'bundle': '\\udcff',
        'seconds': {'total': 1.235},
    }


@pytest.mark.slow
def test_standard_error_of_ssh_is_the_clients(ui, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(procutil, 'stderr', written)
    ui.settings[b'events'] = b'stderr'
    timings.tell(ui, FACTS, {})
    assert written.getvalue().count(b'\n') == 1
    ui.environ = {}
    timings.tell(ui, FACTS, {})
    assert written.getvalue().count(b'\n') == 1


def test_log_of_a_web_server(ui):
    """That of gunicorn takes text; "hg serve" has been seen to take bytes. A line is told once."""
    log = io.StringIO()
    ui.environ = {b'wsgi.errors': log}
    for _ in range(2):
        timings.complain(ui.environ, 'a\udce9 line\nof two')
    assert log.getvalue() == 'a\\udce9 line of two\n'
