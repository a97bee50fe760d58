"""Where there is no terminal, an operator's log tells how far a long command has got."""

from __future__ import annotations

import io

import pytest
from mercurial import ui as uimod

from hgext_headless.admin import options


@pytest.fixture
def ui():
    made = uimod.ui.load()
    made.fout, made.ferr = io.BytesIO(), io.BytesIO()
    return made


@pytest.mark.parametrize(
    ('total', 'lines'),
    [
        (400, b'importing: 140 of 400 heads\nimporting: 280 of 400 heads\n'),
        (None, b'importing: 140 heads\nimporting: 280 heads\n'),
    ],
)
def test_a_line_each_ten_seconds(ui, monkeypatch, total, lines):
    now = [0]
    monkeypatch.setattr(options.time, 'monotonic', lambda: now[0])
    with options.progress(ui, b'importing', b'heads', total) as bar:
        for _second in range(25):
            now[0] += 1
            bar.increment(14)
    assert ui.ferr.getvalue() == lines
    assert ui.fout.getvalue() == b''


def test_quiet(ui, monkeypatch):
    now = [0]
    monkeypatch.setattr(options.time, 'monotonic', lambda: now[0])
    ui.setconfig(b'ui', b'quiet', b'yes')
    ui.quiet = True
    with options.progress(ui, b'importing', b'heads', 5) as bar:
        now[0] = 100
        bar.increment()
    assert ui.ferr.getvalue() == b''
