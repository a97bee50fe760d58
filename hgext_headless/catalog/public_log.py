"""The log of public history: its entries, in one order for all servers.

No server stores its position. The heads of the log at each earlier position follow from the
present heads and from what each entry did to them.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence

import sqlalchemy
from sqlalchemy import delete, select, update

from ..errors import Deletions, Temporary
from ..model import BookmarkPlace, Bundle, LogEntry, LogState, Unlogged
from . import bundle_rows, deletions
from .schema import PUBLIC, bundles, public_bookmarks, public_history, public_log
from .statements import Session, clock, insert_new, put, split_nodes

_BUNDLE = bundles.c.key, bundles.c.size, bundles.c.sha512, bundles.c.head, bundles.c.bases


def state(session: Session) -> LogState | None:
    """Return the position and heads of the log; None if it has not begun."""
    query = select(public_history).where(session.mine(public_history))
    row = session.execute(query).first()
    return LogState(row.position, frozenset(split_nodes(row.heads))) if row else None


def lock(session: Session) -> LogState | None:
    """Lock the log until the end of the transaction; return what `state` does.

    Whoever changes public history, or relies on it for what cannot be undone, locks the log before
    anything else in the database. So what it then finds public is all that is.
    """
    mine = session.mine(public_history)
    session.execute(select(public_history.c.position).where(mine).with_for_update())
    return state(session)


def wait(session: Session) -> None:
    """Wait for those that have locked the log, and keep others from it until the end."""
    mine = session.mine(public_history)
    session.execute(select(public_history.c.position).where(mine).with_for_update(read=True))


def before(session: Session, position: int, limit: int) -> list[LogEntry]:
    """Return the entries up to ``position``, the last one first, ``limit`` at most."""
    chosen = public_log.c.position <= position
    return _entries(session, chosen, public_log.c.position.desc(), limit)


def after(session: Session, position: int, limit: int) -> list[LogEntry]:
    """Return the entries after ``position`` in their order, ``limit`` at most."""
    chosen = public_log.c.position > position
    return _entries(session, chosen, public_log.c.position, limit)


def age(session: Session, position: int) -> int:
    """Return how many seconds ago the entry at a position was logged."""
    query = select(session.clock - public_log.c.logged).where(
        session.mine(public_log), public_log.c.position == position
    )
    return session.scalar(query) or 0


def _entries(
    session: Session,
    chosen: sqlalchemy.ColumnElement[bool],
    order: sqlalchemy.ColumnElement[int],
    limit: int,
) -> list[LogEntry]:
    query = (
        select(public_log, *_BUNDLE)
        .join(bundles, bundles.c.id == public_log.c.bundle_id)
        .where(session.mine(public_log), chosen)
        .order_by(order)
        .limit(limit)
    )
    return [
        LogEntry(
            row.position,
            bundle_rows.bundle(row),
            split_nodes(row.added),
            split_nodes(row.removed),
            row.logged,
        )
        for row in session.execute(query)
    ]


def bookmarks(session: Session, names: Collection[bytes] | None = None) -> list[BookmarkPlace]:
    """Return the bookmarks that were ever moved, or those of ``names``, by name."""
    query = select(public_bookmarks).where(session.mine(public_bookmarks))
    if names is not None:
        query = query.where(public_bookmarks.c.name.in_(sorted(names)))
    return [
        BookmarkPlace(row.name, row.node or None, row.move, row.moved)
        for row in session.execute(query.order_by(public_bookmarks.c.name))
    ]


def begin(session: Session, heads: Sequence[bytes]) -> bool:
    """Begin the log above ``heads``; return False if it has begun already."""
    session.lock()
    if state(session) is not None:
        return False
    row = {'repository_id': session.owner, 'position': 0, 'heads': b''.join(sorted(heads))}
    insert_new(session, public_history, [row])
    return True


def append(session: Session, published: Unlogged) -> None:
    """Add what a server has and the log lacks. The log and the repository's row must be locked.

    Raise `Temporary` if the log has not begun, or was deleted.
    """
    found = state(session)
    if found is None:
        raise Temporary('the log of public history has not begun')
    move(session, published.bookmarks)
    if published.bundle is None:
        return
    # Others may have added entries since the server looked.
    gone = {
        node
        for entry in after(session, published.position, found.position)
        for node in entry.removed
    }
    added = sorted(set(published.heads) - found.heads - gone)
    if not added:
        return
    removed = sorted(found.heads & set(published.replaced))
    bundle_id = _bundle(session, published.bundle)
    session.execute(
        public_log.insert().values(
            repository_id=session.owner,
            position=found.position + 1,
            bundle_id=bundle_id,
            added=b''.join(added),
            removed=b''.join(removed),
            logged=session.clock,
        )
    )
    heads = (found.heads - set(removed)) | set(added)
    session.execute(
        update(public_history)
        .where(session.mine(public_history))
        .values(position=found.position + 1, heads=b''.join(sorted(heads)))
    )


def _bundle(session: Session, bundle: Bundle) -> int:
    return bundle_rows.write(session, [bundle], PUBLIC)[bundle.key]


def move(session: Session, moves: Sequence[tuple[bytes, bytes | None]]) -> None:
    """Move bookmarks; None deletes one. The log must be locked."""
    rows = [
        {
            'repository_id': session.owner,
            'name': name,
            'node': node or b'',
            'move': secrets.token_bytes(16),
        }
        for name, node in moves
    ]
    put(session, public_bookmarks, rows, moved=clock(session.connection, 1000))


def replace(session: Session, position: int, bundle: Bundle, stored_again: Deletions) -> None:
    """Replace an entry's object by one with the same changesets. Raise as `deletions.check`."""
    lock(session)
    session.lock()
    deletions.check(session, [bundle.key], stored_again)
    entry = session.mine(public_log), public_log.c.position == position
    lost = session.scalar(select(public_log.c.bundle_id).where(*entry))
    bundle_id = _bundle(session, bundle)
    if lost != bundle_id:
        session.execute(update(public_log).where(*entry).values(bundle_id=bundle_id))
        used = select(public_log.c.position).where(public_log.c.bundle_id == lost)
        session.execute(delete(bundles).where(bundles.c.id == lost, ~used.exists()))
