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


def test_it_works_again(monkeypatch):
    monkeypatch.setattr(options, '_FIRST_PAUSE', 0)
    answers = iter([None, Temporary('down'), Temporary('down'), None, None, Ended()])

    def look():
        if (answer := next(answers)) is not None:
            raise answer

    catalog = SimpleNamespace(listening=lambda: contextlib.nullcontext(lambda seconds: None))
    settings = SimpleNamespace(database='postgresql+psycopg2://x/y')
    ui = uimod.ui()
    ui.pushbuffer(error=True)
    with pytest.raises(Ended):
        options.watch(ui, SimpleNamespace(catalog=catalog, settings=settings), look)
    failed = b'headless: temporary: down; try again later\n'
    assert ui.popbuffer() == failed * 2 + b'headless: it works again\n'
