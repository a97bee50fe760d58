"""The project's own templates: fragments, and a frame of the pushlog for each shipped style."""

from __future__ import annotations

import functools
import os
from typing import Any

from mercurial import config as configuration, encoding, templater
from mercurial.hgweb import common

_FOLDER = os.path.join(os.path.dirname(__file__), 'templates')
#: The shipped styles that have a frame of their own; other HTML styles use paper's.
_FRAMES = ('paper', 'gitweb', 'monoblue', 'spartan', 'atom')


def _read(*path: str) -> bytes:
    with open(os.path.join(_FOLDER, *path), 'rb') as file:
        return file.read()


@functools.cache
def fragments() -> dict[bytes, bytes]:
    """Return the templates of ``templates/map``, a file like the maps of Mercurial's styles."""
    table = configuration.config()
    table.parse(b'map', _read('map'), remap={b'': b'templates'})
    return {
        name: templater.unquotestring(value) if value[:1] == b"'" else _read(value.decode('ascii'))
        for name, value in table.items(b'templates')
    }


@functools.cache
def _frame(style: str) -> dict[bytes, bytes]:
    names = sorted(os.listdir(os.path.join(_FOLDER, style)))
    return {name.rpartition('.')[0].encode('ascii'): _read(style, name) for name in names}


def add(made: Any, texts: dict[bytes, bytes]) -> None:
    """Add templates to a templater; those that its style has stay."""
    for name, text in texts.items():
        if name not in made:
            made.cache[name] = text


def add_pushlog(made: Any) -> None:
    """Add the templates of the pushlog to the templater of a request.

    Raise hgweb's `ErrorResponse` if the style is neither HTML nor Atom.
    """
    style = made.defaults[b'style'].decode('latin-1')
    if style not in _FRAMES:
        if b'text/html' not in made.render(b'mimetype', {b'encoding': encoding.encoding}):
            raise common.ErrorResponse(common.HTTP_NOT_FOUND, b'no pushlog in this style')
        style = 'paper'
    add(made, _frame(style))
    add(made, fragments())
