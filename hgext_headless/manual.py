"""``hg help headless`` and ``hg help config.headless``: the files in ``help``."""

from __future__ import annotations

import pkgutil
from typing import Any

from mercurial import help as helps
from mercurial.i18n import _

_TOPIC = b'headless'


def text(name: str) -> bytes:
    """Return the text of a file in ``help``, without its extension."""
    return pkgutil.get_data(__package__, f'help/{name}.rst') or b''


def _headless(ui: Any) -> bytes:
    return text('headless')


def _with_config(ui: Any, topic: bytes, doc: bytes) -> bytes:
    return doc + b'\n' + text('config')


def install() -> None:
    """Add the texts to Mercurial's help, unless the other extension has done so."""
    if any(_TOPIC in entry[0] for entry in helps.helptable):
        return
    helps.helptable.append(([_TOPIC], _(b'Headless Repositories'), _headless))
    helps.addtopichook(b'config', _with_config)
