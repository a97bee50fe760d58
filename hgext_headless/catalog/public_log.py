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
from . import bundle_rows, deletions, statements
from .schema import (
    PUBLIC,
    bundles,
    public_bookmarks,
    public_history,
    public_log,
)
from .statements import Session, batches, clock, insert_new, owner_of, upsert

_BUNDLE = bundles.c.key, bundles.c.size, bundles.c.sha512, bundles.c.head, bundles.c.bases


def state(session: Session) -> LogState | None:
    """Return the position and heads of the log; None if it has not begun."""
    query = select(public_history.c.position, public_history.c.heads).where(
        public_history.c.repository_id == session.repository_id
    )
    row = session.execute(query).first()
    return row and LogState(row.position, frozenset(statements.split_nodes(row.heads)))


def lock(session: Session) -> LogState | None:
    """Lock the log until the end of the transaction; return what `state` does.

    Whoever changes public history, or relies on it for what cannot be undone, locks the log before
    anything else in the database. So what it then finds public is all that is.
    """
    mine = public_history.c.repository_id == session.repository_id
    session.execute(select(public_history.c.position).where(mine).with_for_update())
    return state(session)


def wait(session: Session) -> None:
    """Wait for those that have locked the log, and keep others from it until the end."""
    mine = public_history.c.repository_id == session.repository_id
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
    query = select(clock(session.connection) - public_log.c.logged).where(
        public_log.c.repository_id == session.repository_id, public_log.c.position == position
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
        .where(public_log.c.repository_id == session.repository_id, chosen)
        .order_by(order)
        .limit(limit)
    )
    return [
        LogEntry(
            row.position,
            bundle_rows.bundle(row),
            statements.split_nodes(row.added),
            statements.split_nodes(row.removed),
            row.logged,
        )
        for row in session.execute(query)
    ]


def bookmarks(session: Session, names: Collection[bytes] | None = None) -> list[BookmarkPlace]:
    """Return the bookmarks that were ever moved, or those of ``names``, by name."""
    query = select(public_bookmarks).where(
        public_bookmarks.c.repository_id == session.repository_id
    )
    if names is not None:
        query = query.where(public_bookmarks.c.name.in_(sorted(names)))
    return [
        BookmarkPlace(row.name, row.node or None, row.move, row.moved)
        for row in session.execute(query.order_by(public_bookmarks.c.name))
    ]


def begin(session: Session, heads: Sequence[bytes]) -> bool:
    """Begin the log above ``heads``; return False if it has begun already."""
    repository_id = owner_of(session)
    statements.lock(session.connection, repository_id)
    if state(session) is not None:
        return False
    row = {'repository_id': repository_id, 'position': 0, 'heads': b''.join(sorted(heads))}
    insert_new(session.connection, public_history, [row])
    return True


def append(session: Session, repository_id: int, published: Unlogged) -> None:
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
    bundle_id = _bundle(session.connection, repository_id, published.bundle)
    session.execute(
        public_log.insert().values(
            repository_id=repository_id,
            position=found.position + 1,
            bundle_id=bundle_id,
            added=b''.join(added),
            removed=b''.join(removed),
            logged=clock(session.connection),
        )
    )
    heads = (found.heads - set(removed)) | set(added)
    session.execute(
        update(public_history)
        .where(public_history.c.repository_id == repository_id)
        .values(position=found.position + 1, heads=b''.join(sorted(heads)))
    )


def _bundle(connection: sqlalchemy.Connection, repository_id: int, bundle: Bundle) -> int:
    return bundle_rows.write(connection, repository_id, [bundle], PUBLIC)[bundle.key]


def move(session: Session, moves: Sequence[tuple[bytes, bytes | None]]) -> None:
    """Move bookmarks; None deletes one. The log must be locked."""
    repository_id = owner_of(session)
    statement = upsert(session.connection, public_bookmarks).values(
        moved=clock(session.connection, 1000)
    )
    statement = statement.on_conflict_do_update(
        index_elements=[public_bookmarks.c.repository_id, public_bookmarks.c.name],
        set_={name: statement.excluded[name] for name in ('node', 'move', 'moved')},
    )
    rows = [
        {
            'repository_id': repository_id,
            'name': name,
            'node': node or b'',
            'move': secrets.token_bytes(16),
        }
        for name, node in moves
    ]
    for batch in batches(rows):
        session.execute(statement, batch)


def replace(session: Session, position: int, bundle: Bundle, stored_again: Deletions) -> None:
    """Replace an entry's object by one with the same changesets. Raise as `deletions.check`."""
    lock(session)
    repository_id = owner_of(session)
    statements.lock(session.connection, repository_id)
    deletions.check(session.connection, repository_id, [bundle.key], stored_again)
    mine = (public_log.c.repository_id == repository_id) & (public_log.c.position == position)
    lost = session.scalar(select(public_log.c.bundle_id).where(mine))
    bundle_id = _bundle(session.connection, repository_id, bundle)
    if lost != bundle_id:
        session.execute(update(public_log).where(mine).values(bundle_id=bundle_id))
        used = select(public_log.c.position).where(public_log.c.bundle_id == lost)
        session.execute(delete(bundles).where(bundles.c.id == lost, ~used.exists()))
