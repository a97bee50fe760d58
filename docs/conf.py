"""Sphinx: "tox -e docs" makes HTML, and a man page of "hg help headless"."""

from __future__ import annotations

import re
from pathlib import Path

from hgext_headless import __version__, common

project = 'hgext_headless'
release = __version__
extensions: list[str] = []
exclude_patterns = ['_build']
html_theme = 'alabaster'
man_pages = [('manual', 'hgext_headless', 'headless repositories for Mercurial', [], 7)]


def _manual() -> str:
    """Mercurial's help as plain reStructuredText: its role ``hg`` is a literal."""
    whole = common.help_text('headless') + b'\n' + common.help_text('config')
    text = re.sub(r':hg:`(.*?)`', r'``hg \1``', whole.decode())
    return f'Manual\n######\n\n{text}'


Path(__file__).with_name('manual.rst').write_text(_manual(), encoding='utf-8')
