"""Metrics that many processes write, and events as lines."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import syslog
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from mercurial.utils import procutil

from hgext_headless import events, metrics


def observe(folder: str) -> None:
    for number in range(50):
        metrics.observe(folder, 'try', 'push', 'ok', {'total': number / 10, 'store': 0.01})


def test_many_processes(tmp_path):
    """None is lost."""
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=observe, args=(str(tmp_path),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    counts, durations = metrics.read(str(tmp_path))
    assert counts == {'try push ok': 200}
    buckets, total = durations['try push total']
    assert (sum(buckets), round(total)) == (200, 490)
    # Up to 0.01 s belongs to the first bucket.
    assert durations['try push store'][0][0] == 200


@pytest.mark.skipif(os.geteuid() != 0, reason='needs another Unix user')
def test_other_users(tmp_path):
    """Servers of several users count in one folder that all may write to."""
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o777)
        observe(str(folder))

        def as_nobody() -> None:
            os.setuid(65534)
            observe(str(folder))

        process = multiprocessing.get_context('fork').Process(target=as_nobody)
        process.start()
        process.join()
        observe(str(folder))
        assert metrics.read(str(folder))[0] == {'try push ok': 150}
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize('content', ['', '{', '[]', '{"counts": {}}', '{"durations": 1}'])
def test_broken_file(tmp_path, content):
    """Counting begins anew."""
    (tmp_path / 'metrics.json').write_text(content)
    metrics.observe(str(tmp_path), 'try', 'push', 'ok', {'total': 1.0})
    assert metrics.read(str(tmp_path))[0] == {'try push ok': 1}


def test_no_folder(tmp_path):
    metrics.observe(str(tmp_path / 'missing'), 'try', 'push', 'ok', {})
    assert metrics.read(str(tmp_path / 'missing')) == ({}, {})


@pytest.fixture
def ui(tmp_path):
    settings = {b'repository': b'try', b'events': b'none', b'metrics-dir': b''}
    return SimpleNamespace(
        settings=settings,
        environ={b'REQUEST_METHOD': b'GET'},
        config=lambda _section, item: settings[item],
    )


FACTS = {'event': 'push', 'outcome': 'ok', 'user': 'zo\udce9\n"', 'bytes': 7, 'bundle': b'\xff'}


def test_line_for_syslog(ui, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(syslog, 'syslog', lambda _priority, line: lines.append(line))
    events.tell(ui, FACTS, {'total': 1.23456})
    assert lines == []
    ui.settings[b'events'] = b'syslog'
    events.tell(ui, FACTS, {'total': 1.23456})
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


def test_standard_error_of_ssh_is_the_clients(ui, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(procutil, 'stderr', written)
    ui.settings[b'events'] = b'stderr'
    events.tell(ui, FACTS, {})
    assert written.getvalue().count(b'\n') == 1
    ui.environ = {}
    events.tell(ui, FACTS, {})
    assert written.getvalue().count(b'\n') == 1
