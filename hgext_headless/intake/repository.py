"""The repository's share of a push: the only step that locks it."""

from __future__ import annotations

from typing import Any

from mercurial import bookmarks, bundle2, changegroup, discovery, phases

from ..model import Refused
from .incoming import Incoming

_HOOKS = b'hooks'
#: Hooks that the push runs itself, once, over all of it.
_OURS = (b'prechangegroup', b'pretxnchangegroup', b'changegroup', b'incoming')


def apply(
    incoming: Incoming,
    overlay: Any,
    public: list[bytes],
    public_heads: list[bytes],
    marks: list[tuple[bytes, bytes | None]],
) -> None:
    """Add public changesets, bookmarks of public changesets, and markers.

    Without any of them nothing is locked. Raises `error.PushRaced` where
    public history moved under the client.
    """
    if not (public or marks or incoming.markers):
        return
    repo = incoming.repo.unfiltered()
    ui = repo.ui
    silenced = {
        (_HOOKS, name): b''
        for name, _command in ui.configitems(_HOOKS)
        if name.split(b'.')[0] in _OURS
    }
    with repo.wlock(), repo.lock(), ui.configoverride(silenced, b'headless'):
        with repo.transaction(b'push') as transaction:
            transaction.hookargs[b'source'] = incoming.source
            transaction.hookargs[b'url'] = incoming.url
            transaction.hookargs[b'bundle2'] = b'1'
            operation = bundle2.bundleoperation(
                repo, lambda: transaction, captureoutput=False, source=b'push'
            )
            for check in incoming.checks:
                check(operation)
            if public:
                _add(repo, overlay, transaction, incoming, public_heads)
            _set_bookmarks(repo, transaction, marks)
            for marker in incoming.markers:
                marker(operation)


def _add(
    repo: Any, overlay: Any, transaction: Any, incoming: Incoming, heads: list[bytes]
) -> None:
    common = [node for node in repo.changelog.heads() if overlay.changelog.hasnode(node)]
    outgoing = discovery.outgoing(overlay, common, list(heads))
    packed = changegroup.makechangegroup(overlay, outgoing, b'02', b'push')
    packed.apply(repo, transaction, incoming.source, incoming.url)
    # A changegroup that comes to a non-publishing repository lands as draft.
    phases.advanceboundary(repo, transaction, phases.public, heads)


def _set_bookmarks(
    repo: Any, transaction: Any, marks: list[tuple[bytes, bytes | None]]
) -> None:
    for name, _node in marks:
        if bookmarks.isdivergent(name):
            raise Refused(f'bookmark "{name.decode("utf-8", "replace")}" is divergent')
    if marks:
        repo._bookmarks.applychanges(repo, transaction, marks)
