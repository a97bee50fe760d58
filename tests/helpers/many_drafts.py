"""Many drafts at once, committed by one process that knows Mercurial's API."""

from __future__ import annotations

import subprocess
import sys

from helpers.world import Clone

_SCRIPT = """
import sys
from mercurial import context, hg, scmutil, ui
root, shape, count, base, prefix = map(str.encode, sys.argv[1:])
repo = hg.repository(ui.ui.load(), root)
node = scmutil.revsymbol(repo, base).node()
def content(repo, ctx, path):
    return context.memfilectx(repo, ctx, path, path)
with repo.wlock(), repo.lock(), repo.transaction(b'drafts'):
    for number in range(int(count)):
        name = b'%s-%d' % (prefix, number)
        made = repo.commitctx(context.memctx(
            repo, (node, None), name, [name], content, user=b'test'))
        if shape == b'stack':
            node = made
"""


def _make(clone: Clone, *args: object) -> None:
    command = [sys.executable, '-c', _SCRIPT, str(clone.root), *map(str, args)]
    subprocess.run(command, env=clone.world.env, check=True)


def heads(clone: Clone, count: int, base: str, prefix: str) -> None:
    """Commit drafts, each a head on ``base``, with a file of its own."""
    _make(clone, 'heads', count, base, prefix)


def stack(clone: Clone, count: int, base: str = 'tip', prefix: str = 'stack') -> None:
    """Commit drafts, each on the one before, with a file of its own."""
    _make(clone, 'stack', count, base, prefix)
