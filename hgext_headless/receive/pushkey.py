"""``pushkey``, as a part or as a command: clients use it if they know no other bundle2 part."""

from __future__ import annotations

from typing import Any

from mercurial import error, phases, util, wireprototypes
from mercurial.i18n import _
from mercurial.node import bin

from .. import config, errors
from ..bundles import markers
from . import flow, incoming as incomings, stream
from .incoming import Incoming

_NAMESPACES = (b'phases', b'bookmarks', b'obsolete')


def take(incoming: Incoming, namespace: bytes, key: bytes, old: bytes, new: bytes) -> bool:
    """Add a key to a push; return False if its namespace is not supported.

    Raise `Refused`, and what `hgcompat.GARBLED` lists.
    """
    if namespace == b'phases' and new == b'%d' % phases.public:
        incoming.public_heads.append(bin(key))
    elif namespace == b'bookmarks':
        target = bin(new) or None
        incoming.bookmarks.append((key, target))
        incoming.expected[key] = (bin(old) or None, target)
    elif namespace == b'obsolete' and key.startswith(b'dump') and not old:
        if not incoming.repo.obsstore.readonly:
            incoming.markers += markers.read(util.b85decode(new))
    else:
        return False
    incoming.keys.append({'namespace': namespace, 'key': key, 'old': old, 'new': new})
    return True


def push_key(
    orig: Any, repo: Any, namespace: bytes, key: bytes, old: bytes, new: bytes
) -> Any:
    """The command ``pushkey``, which clients use if they cannot send it as a part.

    Publishing what is public here already takes no lock.
    """
    if namespace not in _NAMESPACES or not config.participates(repo):
        return orig(repo, namespace, key, old, new)
    with errors.no_traceback(repo.ui, 'the push'):
        with incomings.opened(repo, b'push', repo.url(), 'pushkey') as push:
            with stream.readable():
                taken = take(push, namespace, key, old, new)
            unfiltered = repo.unfiltered()
            draft_here = any(
                unfiltered.changelog.hasnode(node) and unfiltered[node].phase() != phases.public
                for node in push.public_heads
            )
            if draft_here:
                return orig(repo, namespace, key, old, new)
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
