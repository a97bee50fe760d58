"""Commands that watch say when what has failed works again."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
from mercurial import ui as uimod

from hgext_headless.admin import options
from hgext_headless.errors import Temporary


class Ended(Exception):
    pass


def test_it_works_again(monkeypatch, tmp_path):
    monkeypatch.setattr(options, '_FIRST_PAUSE', 0)
    answers = iter([None, Temporary('down'), Temporary('down'), None, None, Ended()])
    there = iter([False, True, True, True])
    store = tmp_path / 'store'

    def listening():
        if next(there):
            store.mkdir(exist_ok=True)
        return contextlib.nullcontext(lambda seconds: None)

    def look():
        if (answer := next(answers)) is not None:
            raise answer

    settings = SimpleNamespace(database='postgresql+psycopg2://x/y')
    backend = SimpleNamespace(catalog=SimpleNamespace(listening=listening), settings=settings)
    repo = SimpleNamespace(headless=backend, spath=bytes(store), root=b'/srv/hg/try')
    ui = uimod.ui()
    ui.pushbuffer(error=True)
    with pytest.raises(Ended):
        options.watch(ui, repo, look)
    gone = b'headless: temporary: the repository is not there (/srv/hg/try); try again later\n'
    failed = b'headless: temporary: down; try again later\n'
    again = b'headless: it works again\n'
    assert ui.popbuffer() == gone + again + failed * 2 + again
