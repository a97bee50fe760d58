"""Drafts of a client, committed without a working copy."""

from __future__ import annotations

import itertools
import os

import history
from helpers.world import Clone

_numbers = itertools.count()


def commits(clone: Clone, parent: str, count: int = 1, stacked: bool = True) -> list[str]:
    """Drafts of a clone, on one another or each on ``parent``; their hashes.

    Each changes a file of a folder that the history has for this.
    """
    repo = history.open_repository(clone.root)
    files = len(os.listdir(clone.root / '.hg' / 'store' / 'data' / os.fsdecode(history.WORK)))
    made, node = [], bytes.fromhex(parent)
    with repo.lock(), repo.transaction(b'benchmark'):
        for _ in range(count):
            number = next(_numbers)
            name = b'%s/file%d.py' % (history.WORK, number % files)
            text = b'draft %d of %s' % (number, os.fsencode(clone.root.name))
            new = history.commit(repo, node, {name: text + b'\n'}, text)
            made.append(new.hex())
            node = new if stacked else node
    return made
