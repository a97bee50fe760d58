"""What a push adds to the repository: the only step that locks it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from mercurial import bundle2, changegroup, discovery, phases

from .. import hgcompat
from ..bundles.markers import Raw
from ..errors import Temporary
from ..replication import append
from . import bookmarks, hooks
from .divide import Divided
from .incoming import Incoming

_HOOKS = b'hooks'


@contextlib.contextmanager
def locked(incoming: Incoming, needed: bool = True) -> Iterator[Any]:
    """Lock the repository if ``needed``, without the hooks of `receive.hooks` and `append`.

    Raise `Temporary` if a process was killed in a transaction, which is rolled back.
    """
    repo = incoming.repo.unfiltered()
    if not needed:
        yield repo
        return
    silenced = append.silenced()
    for name, _command in repo.ui.configitems(_HOOKS):
        if name.split(b'.')[0] in hooks.NAMES:
            silenced[_HOOKS, name] = b''
    with repo.ui.configoverride(silenced, b'headless'), repo.wlock(), repo.lock():
        if repo.currenttransaction() is None and repo.svfs.exists(b'journal'):
            repo.recover()
            # The push may build on what was there.
            raise Temporary('what a process that was killed had added here has been taken back')
        yield repo


def recover(incoming: Incoming) -> None:
    """Raise `Temporary` if a process was killed in a transaction: what it left fits nothing."""
    with locked(incoming, incoming.repo.svfs.exists(b'journal')):
        pass


def apply(
    incoming: Incoming,
    overlay: Any,
    divided: Divided,
    plan: bookmarks.Plan,
    markers: list[Raw],
) -> None:
    """Add public changesets, and bookmarks and markers of public changesets, to the repository.

    Without any, nothing is locked. Raise `error.PushRaced` if public history changed since the
    client read it.
    """
    bookmarks.check(incoming.repo.unfiltered(), plan.seen)
    if not (divided.public or plan.applied or markers):
        return
    with locked(incoming) as repo, hgcompat.transaction(repo, incoming.source) as transaction:
        transaction.hookargs.update(incoming.hookargs)
        transaction.hookargs[b'source'] = incoming.source
        transaction.hookargs[b'url'] = incoming.url
        transaction.hookargs[b'bundle2'] = b'1'
        operation = bundle2.bundleoperation(
            repo, lambda: transaction, captureoutput=False, source=b'push'
        )
        for check in incoming.checks:
            check(operation)
        if divided.public:
            _add(repo, overlay, transaction, incoming, divided.public_heads)
        if plan.applied:
            hgcompat.bookmarks(repo).applychanges(repo, transaction, plan.applied)
        if markers:
            repo.obsstore.add(transaction, markers)
            repo.invalidatevolatilesets()


def remove_bookmarks(incoming: Incoming, plan: bookmarks.Plan) -> None:
    """Remove bookmarks that have moved to drafts, after that was recorded.

    The repository must have been locked since before `apply`.
    """
    if not plan.leaving:
        return
    with locked(incoming) as repo, hgcompat.transaction(repo, incoming.source) as transaction:
        transaction.hookargs.update(incoming.hookargs)
        changes = [(name, None) for name in plan.leaving]
        hgcompat.bookmarks(repo).applychanges(repo, transaction, changes)


def _add(repo: Any, overlay: Any, transaction: Any, incoming: Incoming, heads: list[bytes]) -> None:
    common = [node for node in repo.changelog.heads() if overlay.changelog.hasnode(node)]
    outgoing = discovery.outgoing(overlay, common, list(heads))
    packed = changegroup.makechangegroup(overlay, outgoing, b'02', b'push')
    packed.apply(repo, transaction, incoming.source, incoming.url)
    # A changegroup that is applied to a non-publishing repository is draft.
    phases.advanceboundary(repo, transaction, phases.public, heads)
