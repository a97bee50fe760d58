"""Blocks of code in docs/operating.rst, which tests run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / 'docs' / 'operating.rst').read_text()

_BLOCK = re.compile(r'^( *)\.\. code-block:: (\w+)\n +:name: (.*)\n\n((?:\1 .*\n|\n)+)', re.M)
#: ``# push1 and web1: root, in a checkout``, or ``# push1: /path, of hg, mode 600``; a file that is
#: there is replaced, unless it is ``appended``.
_PLACE = re.compile(r'(?:#|--) ([\w ]+): (/\S+, of )?(\w+)(?:, mode (\d+))?(.*)\n')


class Block(NamedTuple):
    """A script for ``user`` on some machines, or, with a path, a file of that user's."""

    name: str
    machines: tuple[str, ...]
    user: str
    text: str
    path: str
    mode: str
    #: What follows in the first line.
    rest: str

    @property
    def in_checkout(self) -> bool:
        return 'in a checkout' in self.rest

    @property
    def is_added(self) -> bool:
        return self.rest == ', appended'


def blocks() -> list[Block]:
    """In the order of the document."""
    found = []
    for _indent, _language, name, body in _BLOCK.findall(TEXT):
        text = textwrap.dedent(body).strip('\n') + '\n'
        place = _PLACE.match(text)
        assert place, f'{name}: {text}'
        machines, path, user, mode, rest = place.groups(default='')
        found.append(
            Block(
                name,
                tuple(machines.split(' and ')),
                user,
                text,
                path.partition(',')[0],
                mode or '600',
                rest,
            )
        )
    return found


def block(name: str) -> str:
    """The text of the block of that name."""
    (found,) = [one.text for one in blocks() if one.name == name]
    return found
