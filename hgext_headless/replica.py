"""A server without `hgext_headless.push`: nothing takes pushes apart there."""

from __future__ import annotations

import functools
from typing import Any

from mercurial import extensions

from . import hgcompat
from .model import Refused

_PUSH = 'hgext_headless.push'


def guard(repo: Any) -> None:
    """Let only public changesets enter a repository, unless the push extension is in effect.

    By whatever they come: a push, a pull, ``hg unbundle``, a commit. So that public history
    can come by any of them.
    """
    if any(module.__name__ == _PUSH for _name, module in extensions.extensions(repo.ui)):
        return

    class replica(repo.__class__):  # type: ignore[misc]
        def transaction(self, *args: Any, **kwargs: Any) -> Any:
            transaction = super().transaction(*args, **kwargs)
            transaction.addvalidator(b'headless', functools.partial(_refuse_drafts, self))
            return transaction

    repo.__class__ = replica


def _refuse_drafts(repo: Any, transaction: Any) -> None:
    before = transaction.changes[b'origrepolen']
    newest = repo.unfiltered().revs(b'max(not public())').first()
    if newest is not None and newest >= before:
        with hgcompat.clear_errors():
            raise Refused(f'drafts may not enter this repository: {_PUSH} is not loaded')
