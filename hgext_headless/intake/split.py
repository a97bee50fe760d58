"""The split: public changesets to the repository, drafts to the store.

The order is store first, repository second, database last. A crash between any
two steps leaves an object that nothing points at, or public history that was
going to be public anyway; never a row without its object.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, NamedTuple

from .. import config
from ..bundles import ancestry, checking, keeping, stored
from ..model import Bundle, Deletions, Push, Raced, Recorded, Refused
from . import bookmarks, markers, repository
from .incoming import Incoming
from .quarantine import Quarantine


class Divided(NamedTuple):
    """A push, divided by phase. All nodes; ``public`` and ``drafts`` parents first.

    ``draft_roots`` are those of the push after its public part was applied.
    """

    public: list[bytes]
    public_heads: list[bytes]
    drafts: list[bytes]
    draft_heads: list[bytes]
    draft_roots: list[bytes]


def divide(incoming: Incoming, repo: Any) -> Divided:
    """Divide what lies over the repository by phase; ``repo`` is the quarantine's.

    Public is what the client names public, and its ancestors. Drafts are all others that
    came in and are not public here.
    """
    changelog = repo.changelog
    for node in incoming.public_heads:
        if not changelog.hasnode(node):
            raise Refused(f'changeset {node.hex()[:12]} is unknown here')
    applied = incoming.repo.unfiltered().changelog
    public = ancestry.above(changelog, incoming.public_heads, applied.hasnode)
    is_public = set(public)
    drafts = [
        entry.node
        for entry in incoming.entries
        if entry.node not in is_public and not applied.hasnode(entry.node)
    ]

    def among(revset: bytes, nodes: list[bytes]) -> list[bytes]:
        return [changelog.node(rev) for rev in repo.revs(revset, nodes)]

    return Divided(
        public,
        among(b'heads(%ln)', public),
        drafts,
        among(b'heads(%ln)', drafts),
        among(b'roots(%ln)', drafts),
    )


def split(incoming: Incoming, quarantine: Quarantine) -> Recorded:
    """Do the work of a push; on return it is stored, and can be acknowledged.

    Raises `Refused`, `Temporary` and `error.PushRaced`; then nothing that the
    client could see has changed, but for public history in the repository
    where the database failed after it.
    """
    site = incoming.site
    divided = divide(incoming, quarantine.overlay)
    if divided.public and not site.settings.accept_public:
        raise Refused(
            'this server takes no public changesets (headless.public = reject): '
            f'{divided.public[0].hex()[:12]} is public'
        )
    plan = bookmarks.plan(incoming, divided.public)
    marks = markers.divide(incoming, divided.public)
    record = bool(quarantine.changesets or plan.stored or plan.leaving or marks.stored)
    held: set[bytes] = set()
    if record:
        # Before anything is stored: a push that can't be recorded need not start.
        with incoming.stages.stage('database'):
            brought = [changeset.node for changeset in quarantine.changesets]
            site.catalog.refuse_forgotten({*brought, *divided.public})
            # A live bundle has all draft ancestors of what it has.
            held = site.catalog.known(divided.draft_heads)
    with incoming.stages.stage('pack'):
        files = _packed(incoming, quarantine, divided, held)
    incoming.stages.note(
        bundles=len(files), stored_bytes=sum(bundle.size for bundle, _path in files)
    )

    @incoming.stages.stage('repository')
    def apply() -> None:
        repository.apply(
            incoming, quarantine.overlay, divided.public, divided.public_heads, plan, marks.applied
        )

    @incoming.stages.stage('database')
    def commit(stored_again: Deletions) -> Recorded:
        if not record:
            return Recorded()
        push = Push(
            user=config.pusher(incoming.repo, site.settings),
            date=int(time.time()),
            changesets=tuple(quarantine.changesets),
            bundles=tuple(bundle for bundle, _path in files),
            bookmarks=tuple(plan.stored),
            markers=tuple(marks.stored),
            roots=tuple(divided.draft_roots),
            held=tuple(sorted(held)),
        )
        with repository.giving_up(incoming, plan):
            return site.catalog.record(push, stored_again)

    try:
        with incoming.stages.stage('store'):
            return keeping.keep(site, files, commit, between=apply)
    except Raced as exc:
        raise bookmarks.raced(exc) from exc


def _packed(
    incoming: Incoming, quarantine: Quarantine, divided: Divided, held: Collection[bytes]
) -> list[tuple[Bundle, str]]:
    """Write a bundle for each draft head that is not ``held``, and check it against the push."""
    has_node = incoming.repo.unfiltered().changelog.hasnode
    becoming = set(divided.public)
    files = []
    for head in divided.draft_heads:
        if head in held:
            continue
        bundle, path = stored.write_head(
            quarantine.overlay,
            incoming.site.settings.repository,
            head,
            lambda node: node in becoming or has_node(node),
            incoming.folder,
        )
        checking.check_written(quarantine.overlay, bundle, path, quarantine.checked)
        files.append((bundle, path))
    return files
