"""Blocks of code in the documents, which tests run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / 'docs' / 'operating.rst').read_text()


def block(name: str) -> str:
    """The code block of that name."""
    found = re.search(rf'^( *)\.\. code-block:: \w+\n +:name: {name}\n\n', TEXT, re.M)
    assert found, name
    lines = []
    for line in TEXT[found.end() :].split('\n'):
        if line.strip() and len(line) - len(line.lstrip()) <= len(found.group(1)):
            break
        lines.append(line)
    return textwrap.dedent('\n'.join(lines)).strip() + '\n'
