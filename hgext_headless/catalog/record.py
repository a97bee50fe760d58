"""Record a push."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from mercurial import changelog
from sqlalchemy import select, update

from ..errors import Deletions, Raced, Temporary
from ..model import Bundle, Changeset, Push, Recorded
from . import (
    bans,
    bookmarks,
    bundle_rows,
    coordination,
    deletions,
    drafts,
    epochs,
    markers,
    public_log,
    search,
    user_limits,
)
from .schema import (
    bundle_changesets,
    changesets,
    push_branches,
    push_changesets,
    pushes,
    repositories,
)
from .statements import Session, batches, insert_new, rows


def record(session: Session, push: Push, stored_again: Deletions) -> Recorded:
    """Write a push and all that belongs to it.

    The counter of push ids is increased after all rows that need no id, and its row stays
    locked until the commit. So ids are consecutive, and no push is visible before one with a
    lower id.

    If the push changes public history, the caller has locked the log: see `public_log.lock`.
    Raise `Raced`, `Refused`, `Temporary`, `Vanished` and `errors.Misconfigured`.
    """
    if push.published is not None:
        public_log.lock(session)
    elif any(move.new for move in push.bookmarks):
        public_log.wait(session)
    ids = changeset_ids(session, push.changesets, push.bundles)
    brought = [c.node for c in push.changesets]
    stored = drafts.known(session, brought)
    new = [c for c in push.changesets if c.node not in stored]
    record_bundles(session, push.bundles, ids)
    bookmarks.move(session, push.bookmarks)
    new_markers = markers.record(session, push.markers)
    recorded = _record_push(session, push, new, ids)
    if push.limited and recorded.push_id is None and (push.changes or new_markers):
        user_limits.record(session, push.user.encode('utf-8', 'surrogateescape'), push.size)
    session.lock()
    held = [node for bundle in push.bundles for node in bundle.nodes]
    bans.refuse(session, [*brought, *held])
    bookmarks.check(session, push.bookmarks)
    _check_public_bookmarks(session, push)
    keys = [bundle.key for bundle in push.bundles]
    if push.published is not None:
        keys += push.published.keys
        public_log.append(session, push.published)
    deletions.check(session, keys, stored_again)
    if set(push.held) - drafts.known(session, push.held):
        raise Temporary('a draft of this push expired at this moment')
    drafts.record_roots(session, [ids[node] for node in push.roots])
    if recorded.push_id is not None or push.published is not None:
        coordination.send(session)
    return replace(recorded, markers=new_markers)


def _check_public_bookmarks(session: Session, push: Push) -> None:
    """Raise `Raced` if a bookmark of a draft is one of public history, maybe on another server.

    The repository's bookmark would hide the draft's.
    """
    leaving = [name for name, _node in push.published.bookmarks] if push.published else []
    moves = {move.name: move for move in push.bookmarks if move.new and move.name not in leaving}
    for batch in batches(sorted(moves)):
        for found in public_log.bookmarks(session, batch):
            if found.node is not None:
                raise Raced(found.name, moves[found.name].old, found.node)


def _record_push(
    session: Session, push: Push, new: Sequence[Changeset], ids: dict[bytes, int]
) -> Recorded:
    """Write a row for a push and for those of ``new`` that no push has brought, if there are any.

    ``new`` are its changesets that were not stored.
    """
    brought = _new_to_pushes(session, new, ids)
    if not brought:
        return Recorded()
    push_id = session.scalar(
        update(repositories)
        .where(repositories.c.id == session.owner)
        .values(last_push_id=epochs.next_push_id())
        .returning(repositories.c.last_push_id)
    )
    row = {'repository_id': session.owner, 'push_id': push_id}
    date = session.scalar(
        pushes.insert()
        .values(
            **row,
            user=push.user.encode('utf-8', 'surrogateescape'),
            date=session.clock,
            listed=len(brought),
            size=push.size,
            seconds=push.seconds,
        )
        .returning(pushes.c.date)
    )
    session.execute(
        push_changesets.insert(),
        [
            {**row, 'position': position, 'changeset_id': ids[c.node]}
            for position, c in enumerate(brought)
        ],
    )
    branches = sorted({c.branch for c in brought})
    session.execute(push_branches.insert(), [{**row, 'branch': branch} for branch in branches])
    return Recorded(push_id, tuple(c.node for c in brought), date=date)


def changeset_ids(
    session: Session, brought: Sequence[Changeset], stored: Sequence[Bundle]
) -> dict[bytes, int]:
    """Return the ids of the changesets of a push and of its bundles; insert those that are new.

    Raise `Temporary` if a changeset of a bundle is gone.
    """
    wanted = {c.node for c in brought} | {n for b in stored for n in b.nodes}
    ids = _ids(session, wanted)
    # Sorted by node, so that pushes of the same changesets do not deadlock.
    new = sorted((c for c in brought if c.node not in ids), key=lambda c: c.node)
    for batch in batches(new):
        insert_new(session, changesets, [_row(session, changeset) for changeset in batch])
    fresh = _ids(session, wanted - ids.keys())
    search.record(session, [(fresh[c.node], c) for c in brought if c.node in fresh])
    ids.update(fresh)
    if len(ids) < len(wanted):
        raise Temporary('a draft that this builds on expired at this moment')
    return ids


def _row(session: Session, changeset: Changeset) -> dict[str, Any]:
    return {
        'repository_id': session.owner,
        'node': changeset.node,
        'p1': changeset.p1,
        'p2': changeset.p2,
        'branch': changeset.branch,
        'author': changeset.author,
        'date': changeset.date,
        'timezone': changeset.timezone,
        'description': changeset.description,
        'files': b'\0'.join(changeset.files),
        'extras': changelog.encodeextra(dict(changeset.extras)),
    }


def _ids(session: Session, nodes: Iterable[bytes]) -> dict[bytes, int]:
    query = select(changesets.c.node, changesets.c.id).where(session.mine(changesets))
    return {row.node: row.id for row in rows(session, query, changesets.c.node, nodes)}


def record_bundles(session: Session, recorded: Sequence[Bundle], ids: dict[bytes, int]) -> None:
    """Write the rows of bundles, unless they are there. ``ids`` are those of their changesets."""
    bundle_ids = bundle_rows.write(session, recorded)
    insert_new(
        session,
        bundle_changesets,
        [
            {
                'bundle_id': bundle_ids[bundle.key],
                'changeset_id': ids[node],
                'position': position,
                'is_head': node == bundle.head,
            }
            for bundle in recorded
            for position, node in enumerate(bundle.nodes)
        ],
    )


def _new_to_pushes(
    session: Session, new: Sequence[Changeset], ids: dict[bytes, int]
) -> list[Changeset]:
    """Return those of ``new`` that no push has brought yet, in their order."""
    column = push_changesets.c.changeset_id
    found = rows(session, select(column), column, [ids[c.node] for c in new])
    listed = {row.changeset_id for row in found}
    return [c for c in new if ids[c.node] not in listed]
