"""The command ``pushkey``: clients use it if they cannot send keys in a bundle."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mercurial import error, phases, wireprototypes
from mercurial.i18n import _

from .. import config, errors
from . import flow, incoming as incomings, parts, stream

_NAMESPACES = (b'phases', b'bookmarks', b'obsolete')


class Repository:
    """A mixin for `localrepo.localrepository`, where pushes are taken."""

    def pushkey(self, namespace: bytes, key: bytes, old: bytes, new: bytes) -> Any:
        stock = functools.partial(super().pushkey, namespace, key, old, new)  # type: ignore[misc]
        return _pushed(self, stock, namespace, key, old, new)


def _pushed(
    repo: Any, stock: Callable[[], Any], namespace: bytes, key: bytes, old: bytes, new: bytes
) -> Any:
    """Carry out ``pushkey`` as a push.

    Publishing what is public here already takes no lock.
    """
    if namespace not in _NAMESPACES:
        return stock()
    with errors.no_traceback(repo.ui, 'the push'):
        with incomings.opened(repo, b'push', repo.url(), 'pushkey') as push:
            with stream.readable():
                taken = parts.take_key(push, namespace, key, old, new)
            unfiltered = repo.unfiltered()
            draft_here = any(
                unfiltered.changelog.hasnode(node) and unfiltered[node].phase() != phases.public
                for node in push.public_heads
            )
            if draft_here:
                return stock()
            if not taken:
                return False
            try:
                flow.take(push)
            except error.PushRaced:
                return False
            except error.HookAbort as exc:  # with stock's text
                repo.ui.write_err(_(b'pushkey-abort: %s\n') % exc.message)
                return False
        return True


def wire_push_key(orig: Any, repo: Any, *args: Any) -> Any:
    """The wire command ``pushkey``: an error is a line that clients print, over http too."""
    if not config.participates(repo):
        return orig(repo, *args)
    try:
        return orig(repo, *args)
    except error.Abort as exc:
        return wireprototypes.ooberror(exc.message + b'\n')
