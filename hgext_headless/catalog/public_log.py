"""The log of public history: its entries, in one order for all servers.

No server stores its position. The heads of the log at each earlier position follow from the
present heads and from what each entry did to them.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy
from sqlalchemy import delete, func, select, update

from ..errors import Deletions, Temporary
from ..model import BookmarkPlace, Bundle, LogEntry, LogState, Published
from . import bundle_rows, coordination, deletions, encoding
from .batching import batches, clock, ensure_repository, insert_new, lock, upsert
from .schema import (
    PUBLIC,
    bundles,
    public_bookmarks,
    public_history,
    public_log,
)
from .session import Session


def state(session: Session) -> LogState | None:
    """Return the position and heads of the log; None if it has not begun."""
    query = select(public_history.c.position, public_history.c.heads).where(
        public_history.c.repository_id == session.repository_id
    )
    row = session.execute(query).first()
    return row and LogState(row.position, frozenset(encoding.split_nodes(row.heads)))


def before(session: Session, position: int, limit: int) -> list[LogEntry]:
    """Return the entries up to ``position``, the last one first, ``limit`` at most."""
    chosen = public_log.c.position <= position
    return _entries(session, chosen, public_log.c.position.desc(), limit)


def after(session: Session, position: int, limit: int) -> list[LogEntry]:
    """Return the entries after ``position`` in their order, ``limit`` at most."""
    chosen = public_log.c.position > position
    return _entries(session, chosen, public_log.c.position, limit)


def _entries(
    session: Session,
    chosen: sqlalchemy.ColumnElement[bool],
    order: sqlalchemy.ColumnElement[int],
    limit: int,
) -> list[LogEntry]:
    query = (
        select(public_log, bundles.c.key, bundles.c.size, bundles.c.sha512, bundles.c.bases)
        .join(bundles, bundles.c.id == public_log.c.bundle_id)
        .where(public_log.c.repository_id == session.repository_id, chosen)
        .order_by(order)
        .limit(limit)
    )
    return [
        LogEntry(
            row.position,
            Bundle(row.key, row.size, row.sha512, b'', encoding.split_nodes(row.bases)),
            encoding.split_nodes(row.added),
            encoding.split_nodes(row.removed),
            row.logged,
        )
        for row in session.execute(query)
    ]


def moved_bookmarks(session: Session, position: int) -> list[BookmarkPlace]:
    """Return the bookmarks that were moved after ``position``, in the order of their last moves."""
    query = (
        select(public_bookmarks)
        .where(
            public_bookmarks.c.repository_id == session.repository_id,
            public_bookmarks.c.position > position,
        )
        .order_by(public_bookmarks.c.position)
    )
    return [
        BookmarkPlace(bytes(row.name), bytes(row.node) or None, row.position)
        for row in session.execute(query)
    ]


def begin(session: Session, heads: Sequence[bytes]) -> bool:
    """Begin the log above ``heads``; return False if it has begun already."""
    owner = ensure_repository(session.connection, session.repository)
    lock(session.connection, owner)
    if state(session) is not None:
        return False
    row = {'repository_id': owner, 'position': 0, 'heads': b''.join(sorted(heads))}
    insert_new(session.connection, public_history, [row])
    return True


def append(session: Session, repository_id: int, published: Published, now: int) -> None:
    """Add what a server has and the log lacks. The repository's row must be locked.

    Raise `Temporary` if the log was begun or deleted meanwhile.
    """
    found = state(session)
    if (found is None) != (published.position is None):
        raise Temporary('the log of public history began at this moment')
    if found is None:
        begin(session, published.baseline)
        found = LogState(0, frozenset(published.baseline))
    _move(session, repository_id, published.bookmarks)
    if published.bundle is None:
        return
    # Others may have added entries since the server looked.
    gone = {
        node
        for entry in after(session, published.position or 0, found.position)
        for node in entry.removed
    }
    added = sorted(set(published.heads) - found.heads - gone)
    if not added:
        return
    removed = sorted(found.heads & set(published.replaced))
    bundle_id = _bundle(session.connection, repository_id, published.bundle, now)
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


def _bundle(
    connection: sqlalchemy.Connection, repository_id: int, bundle: Bundle, now: int
) -> int:
    return bundle_rows.write(connection, repository_id, [bundle], now, PUBLIC)[bundle.key]


def _move(
    session: Session, repository_id: int, moves: Sequence[tuple[bytes, bytes | None]]
) -> None:
    if not moves:
        return
    last = session.scalar(
        select(func.max(public_bookmarks.c.position)).where(
            public_bookmarks.c.repository_id == repository_id
        )
    )
    statement = upsert(session.connection, public_bookmarks)
    statement = statement.on_conflict_do_update(
        index_elements=[public_bookmarks.c.repository_id, public_bookmarks.c.name],
        set_={'node': statement.excluded.node, 'position': statement.excluded.position},
    )
    rows = [
        {'repository_id': repository_id, 'name': name, 'node': node or b'', 'position': position}
        for position, (name, node) in enumerate(moves, (last or 0) + 1)
    ]
    for batch in batches(rows):
        session.execute(statement, batch)


def log(session: Session, published: Published, now: int, stored_again: Deletions) -> None:
    """Add what a server has and the log lacks, and nothing else.

    Raise what `append` and `deletions.check` raise.
    """
    owner = ensure_repository(session.connection, session.repository)
    lock(session.connection, owner)
    deletions.check(session.connection, owner, published.keys, stored_again)
    append(session, owner, published, now)
    coordination.send(session)


def replace(
    session: Session, position: int, bundle: Bundle, now: int, stored_again: Deletions
) -> None:
    """Replace an entry's object by one with the same changesets. Raise as `deletions.check`."""
    owner = ensure_repository(session.connection, session.repository)
    lock(session.connection, owner)
    deletions.check(session.connection, owner, [bundle.key], stored_again)
    mine = (public_log.c.repository_id == owner) & (public_log.c.position == position)
    lost = session.scalar(select(public_log.c.bundle_id).where(mine))
    bundle_id = _bundle(session.connection, owner, bundle, now)
    if lost != bundle_id:
        session.execute(update(public_log).where(mine).values(bundle_id=bundle_id))
        used = select(public_log.c.position).where(public_log.c.bundle_id == lost)
        session.execute(delete(bundles).where(bundles.c.id == lost, ~used.exists()))
