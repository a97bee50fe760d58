"""Bookmarks of drafts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import delete, select, update

from ..errors import Raced, Refused
from ..model import BookmarkMove
from . import drafts
from .schema import bookmarks
from .statements import Session, rows, upsert

_columns = select(bookmarks.c.name, bookmarks.c.node)


def _where(session: Session, column: Any, values: Iterable[bytes]) -> dict[bytes, bytes]:
    query = _columns.where(session.mine(bookmarks))
    return {row.name: row.node for row in rows(session, query, column, values)}


def places(session: Session, names: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the drafts that the bookmarks ``names`` point to, by name."""
    return _where(session, bookmarks.c.name, names)


def at(session: Session, nodes: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the bookmarks that point to one of ``nodes``, by name."""
    return _where(session, bookmarks.c.node, nodes)


def by_node(session: Session, nodes: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    """Return the bookmarks that point to each of ``nodes``, by node."""
    found: dict[bytes, list[bytes]] = {}
    for name, node in sorted(at(session, nodes).items()):
        found.setdefault(node, []).append(name)
    return found


def newest(session: Session, limit: int | None) -> dict[bytes, bytes]:
    """Return the ``limit`` bookmarks that were moved last, or all, by name."""
    query = (
        _columns.where(session.mine(bookmarks))
        .order_by(bookmarks.c.updated.desc(), bookmarks.c.name)
        .limit(limit)
    )
    return {row.name: row.node for row in session.execute(query)}


def move(session: Session, moves: Sequence[BookmarkMove]) -> None:
    """Move bookmarks, each only from where it is expected. See also `check`.

    Raise `Raced` if one is elsewhere: if two pushes move it at once, the second fails.
    """
    # Sorted by name, so that pushes of the same bookmarks do not deadlock.
    for one in sorted(moves, key=lambda m: m.name):
        if not _moved(session, one):
            found = places(session, [one.name])
            raise Raced(one.name, one.old, found.get(one.name))


def check(session: Session, moves: Sequence[BookmarkMove]) -> None:
    """Raise `Refused` if a bookmark is moved to a changeset that is not a stored draft.

    The repository's row must be locked, so that none expires meanwhile.
    """
    targets = {m.new for m in moves if m.new is not None}
    for node in targets - drafts.known(session, targets):
        raise Refused(f'changeset {node.hex()[:12]}, which a bookmark names, is unknown here')


def _moved(session: Session, one: BookmarkMove) -> bool:
    statement: sqlalchemy.Insert | sqlalchemy.Update | sqlalchemy.Delete
    is_there = bookmarks.c.name == one.name, bookmarks.c.node == one.old
    if one.new is None:
        statement = delete(bookmarks).where(session.mine(bookmarks), *is_there)
    elif one.old is not None:
        moved = update(bookmarks).values(node=one.new, updated=session.clock)
        statement = moved.where(session.mine(bookmarks), *is_there)
    else:
        made = upsert(session.connection, bookmarks).values(
            repository_id=session.owner, name=one.name, node=one.new, updated=session.clock
        )
        statement = made.on_conflict_do_nothing()
    done = session.execute(statement.returning(bookmarks.c.name))
    return done.first() is not None
