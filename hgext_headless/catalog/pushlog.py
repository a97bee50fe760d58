"""Read the pushlog. The cost of a query does not grow with the number of stored pushes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import func, or_, select

from ..model import Changeset, Entry, PushNodes, PushOf, Selection, ServingNeeds
from . import statements
from .schema import (
    bundle_changesets,
    changesets,
    epochs,
    push_branches,
    push_changesets,
    pushes,
    repositories,
    tombstones,
)
from .statements import Session, batches, rows

T = TypeVar('T')

#: Maximum number of changesets in a list of `together`, unless one push has more.
_CHANGESETS = 20_000

#: How many bytes are shown of a changeset in a list: of its description, its author, and the names
#: of its files. In a push, a text that others have too is a few bytes.
SHOWN = 4096
_SHOWN = {'author': 256, 'files': 4096, 'description': SHOWN}
#: An expression: the size of the texts of a changeset.
_BYTES = functools.reduce(
    operator.add, (func.length(changesets.c[name]) for name in (*_SHOWN, 'extras'))
)
#: How many bytes are read of the extras of a changeset, of which the commit of git is asked for; a
#: branch, which is before it, has at most 1,000.
_MOST_EXTRAS = 1200


def last_push_id(session: Session) -> int:
    """Return the highest push id that may be shown; 0 if there is none.

    Raise `errors.Misconfigured` if the repository has no row.
    """
    columns = repositories.c.last_push_id, repositories.c.importing_push_id
    query = select(*columns).where(repositories.c.id == session.repository_id)
    row = session.execute(query).first()
    if row is None:
        raise statements.without_row(session)
    if not row.importing_push_id:
        return row.last_push_id
    recorded = session.mine(pushes), pushes.c.push_id <= row.importing_push_id
    return session.scalar(select(func.max(pushes.c.push_id)).where(*recorded)) or 0


def imported_push_id(session: Session) -> int:
    """Return the highest push id that came from an older pushlog; 0 if there is none."""
    mine = repositories.c.id == session.repository_id
    query = select(repositories.c.imported_push_id).where(mine)
    return session.scalar(query) or 0


def count(session: Session, last: int) -> int:
    """Return the number of pushes up to ``last``: ids are consecutive, but for known gaps.

    Each epoch begins with one, and an older pushlog may have had some. What was known before the
    oldest epoch has been dropped.
    """
    skipped = select(func.sum(epochs.c.first_push_id - 1 - epochs.c.known_push_id)).where(
        session.mine(epochs), epochs.c.first_push_id <= last
    )
    imported = select(repositories.c.imported_push_id - repositories.c.imported_pushes).where(
        repositories.c.id == session.repository_id, repositories.c.imported_push_id <= last
    )
    known = session.scalar(select(func.min(epochs.c.known_push_id)).where(session.mine(epochs)))
    dropped = max(0, (known or 0) - imported_push_id(session))
    return last - dropped - int(session.scalar(skipped) or 0) - (session.scalar(imported) or 0)


def entries(
    session: Session, selection: Selection, newest: bool, limit: int | None, offset: int = 0
) -> list[Entry]:
    """Return the pushes of ``selection``, ignoring its words: the oldest or ``newest`` first."""
    query, push_id = selected(session, selection)
    query = query.order_by(push_id.desc() if newest else push_id).limit(limit).offset(offset)
    return [_entry(row) for row in session.execute(query)]


def selected(session: Session, selection: Selection) -> tuple[sqlalchemy.Select[Any], Any]:
    """Return the query for the pushes of ``selection``, ignoring its words, and a column of ids.

    An index has the pushes in the order of this column.
    """
    query = select(pushes.c.push_id, pushes.c.user, pushes.c.date)
    push_id = pushes.c.push_id
    if selection.branch is None:
        query = query.where(session.mine(pushes))
    else:
        push_id = push_branches.c.push_id
        query = query.join(push_branches).where(
            session.mine(push_branches), push_branches.c.branch == selection.branch
        )
    if selection.after is not None:
        query = query.where(push_id > selection.after)
    if selection.upto is not None:
        query = query.where(push_id <= selection.upto)
    if selection.since is not None:
        query = query.where(pushes.c.date > selection.since)
    if selection.before is not None:
        query = query.where(pushes.c.date < selection.before)
    if selection.users is not None:
        query = query.where(pushes.c.user.in_(selection.users))
    if selection.push_ids is not None:
        query = query.where(push_id.in_(selection.push_ids))
    return query, push_id


def has_branch(session: Session, branch: bytes) -> bool:
    """Return whether any push brought a changeset on ``branch``."""
    listed = session.mine(push_branches), push_branches.c.branch == branch
    return session.scalar(select(push_branches.c.push_id).where(*listed).limit(1)) is not None


def sizes(session: Session, push_ids: Sequence[int]) -> dict[int, int]:
    """Return the number of changesets that each push brought, including those that are gone."""
    found = dict.fromkeys(push_ids, 0)
    for table in (push_changesets, tombstones):
        last = select(table.c.push_id, func.max(table.c.position)).where(session.mine(table))
        query = last.group_by(table.c.push_id)
        for push_id, position in rows(session, query, table.c.push_id, push_ids):
            found[push_id] = max(found[push_id], position + 1)
    return found


def together(session: Session, found: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Yield the pushes ``found`` in lists of few changesets, or of one push that has more."""
    if len(found) < 2:  # as mostly
        yield from filter(None, [list(found)])
        return
    counts = sizes(session, [entry.push_id for entry in found])
    yield from statements.portions(
        found, len(found), lambda entry: counts[entry.push_id], _CHANGESETS
    )


def nodes_of(
    session: Session, push_ids: Sequence[int], tips_only: bool = False
) -> dict[int, list[tuple[bytes, dict[bytes, bytes]]]]:
    """Return the changesets of each push, in order: node and extras (none if it is gone).

    With ``tips_only``, return only the last one of each push.
    """

    def live(row: Any) -> tuple[bytes, dict[bytes, bytes]]:
        extras: bytes = row.extras
        whole = extras if len(extras) < _MOST_EXTRAS else extras.rpartition(b'\0')[0]
        return row.node, statements.split_extras(whole)

    columns = changesets.c.node, statements.beginning(changesets.c.extras, _MOST_EXTRAS)
    return _in_order(session, push_ids, columns, live, lambda row: (row.node, {}), tips_only)


def changesets_of(
    session: Session, push_ids: Sequence[int], tips_only: bool = False, shown: int | None = None
) -> dict[int, list[Changeset]]:
    """Return the changesets of each push, in order; with ``tips_only``, only the last one.

    Of a changeset that is gone, only its node and those of its parents are known. With ``shown``,
    they are for a list that shows as many bytes of a description: other long texts are cut too, and
    of the extras only the branch is there.
    """
    columns, live = _as_shown(shown)
    return _in_order(session, push_ids, columns, live, _nameonly, tips_only)


def changesets_from(
    session: Session, push_id: int, start: int, number: int, shown: int | None = None
) -> list[Changeset]:
    """Return ``number`` changesets of one push from position ``start`` on; see `changesets_of`."""
    among = start, start + number - 1
    columns, live = _as_shown(shown)
    return _in_order(session, [push_id], columns, live, _nameonly, among=among)[push_id]


def bytes_of(session: Session, push_ids: Sequence[int]) -> dict[int, int]:
    """Return the size of the texts of the changesets of each push."""
    query = (
        select(push_changesets.c.push_id, func.sum(_BYTES).label('bytes'))
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(session.mine(push_changesets))
        .group_by(push_changesets.c.push_id)
    )
    found = rows(session, query, push_changesets.c.push_id, push_ids)
    return {**dict.fromkeys(push_ids, 0), **{row.push_id: int(row.bytes) for row in found}}


def pieces(session: Session, push_id: int, number: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield what `changesets_from` takes to read all changesets of a push that are not gone.

    Each time, these are ``number`` at most, whose texts have ``size`` bytes, or one that has more.
    """
    query = _listed(session, [_BYTES.label('bytes')]).where(push_changesets.c.push_id == push_id)
    listed = session.execute(query).all()
    for piece in statements.portions(listed, number, lambda row: int(row.bytes), size):
        first = piece[0].position
        yield first, piece[-1].position - first + 1


@functools.cache
def _as_shown(of_description: int | None) -> tuple[Iterable[Any], Callable[[Any], Changeset]]:
    """Return the columns that are read of changesets, and what converts a row."""
    if of_description is None:
        return changesets.c, facts
    sizes = {**_SHOWN, 'description': of_description}
    columns = [
        statements.beginning(column, sizes[column.name]) if column.name in sizes else column
        for column in changesets.c
        if column.name != 'extras'
    ]
    return columns, _shown


def _shown(row: Any) -> Changeset:
    files = row.files if len(row.files) < _SHOWN['files'] else row.files.rpartition(b'\0')[0]
    return _changeset(row, files, ((b'branch', row.branch),))


def _in_order(
    session: Session,
    push_ids: Sequence[int],
    columns: Iterable[Any],
    live: Callable[[Any], T],
    tombstoned: Callable[[Any], T],
    tips_only: bool = False,
    among: tuple[int, int] | None = None,
) -> dict[int, list[T]]:
    """Return the changesets of each push at positions ``among``, in order, including those gone.

    ``live`` and ``tombstoned`` convert rows.
    """
    found: dict[int, dict[int, T]] = {i: {} for i in push_ids}
    listed = _listed(session, columns)
    if tips_only:
        listed = listed.where(push_changesets.c.position == _LAST)
    gone = select(tombstones).where(session.mine(tombstones))
    for query, table, convert in ((listed, push_changesets, live), (gone, tombstones, tombstoned)):
        if among is not None:
            query = query.where(table.c.position.between(*among))
        for row in rows(session, query, table.c.push_id, push_ids):
            found[row.push_id][row.position] = convert(row)
    first = -1 if tips_only else None
    return {
        push_id: [places[position] for position in sorted(places)][first:]
        for push_id, places in found.items()
    }


def _listed(session: Session, columns: Iterable[Any]) -> sqlalchemy.Select[Any]:
    """Return the query for ``columns`` of the changesets that pushes list, in order."""
    return (
        select(push_changesets.c.push_id, push_changesets.c.position, *columns)
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(session.mine(push_changesets))
        .order_by(push_changesets.c.push_id, push_changesets.c.position)
    )


def _end_position(end: Any) -> sqlalchemy.ScalarSelect[Any]:
    """Return a subquery: the first or last position in the push of the outer query's row."""
    others = push_changesets.alias('others')
    return (
        select(end(others.c.position))
        .where(
            others.c.repository_id == push_changesets.c.repository_id,
            others.c.push_id == push_changesets.c.push_id,
        )
        .scalar_subquery()
    )


# Built once: SQLAlchemy takes longer to build them than the database to run them.
_FIRST, _LAST = _end_position(func.min), _end_position(func.max)


def brought(
    session: Session, nodes: Iterable[bytes], with_ends: bool = True
) -> dict[bytes, PushOf]:
    """Return the pushes that brought ``nodes``, by node.

    Their first and last changesets are empty unless ``with_ends``.
    """
    query = (
        select(changesets.c.node, pushes.c.push_id, pushes.c.user, pushes.c.date)
        .join(push_changesets, push_changesets.c.changeset_id == changesets.c.id)
        .join(pushes)
        .where(session.mine(changesets))
    )
    found = {row.node: _entry(row) for row in rows(session, query, changesets.c.node, nodes)}
    if not with_ends:
        return {node: PushOf(entry, b'', b'') for node, entry in found.items()}
    ends = _ends(session, {entry.push_id for entry in found.values()})
    return {node: PushOf(entry, *ends[entry.push_id]) for node, entry in found.items()}


def _ends(session: Session, push_ids: Iterable[int]) -> dict[int, tuple[bytes, bytes]]:
    """Return the first and the last changeset of each push, of those that are not gone."""
    position = push_changesets.c.position
    query = _listed(session, [changesets.c.node]).where(or_(position == _FIRST, position == _LAST))
    found: dict[int, list[bytes]] = {}
    for row in rows(session, query, push_changesets.c.push_id, push_ids):
        found.setdefault(row.push_id, []).append(row.node)
    return {push_id: (nodes[0], nodes[-1]) for push_id, nodes in found.items()}


def tombstoned(session: Session, nodes: Iterable[bytes]) -> dict[bytes, int]:
    """Return, for those of ``nodes`` that are gone, the id of the latest push that brought it."""
    pairs = select(tombstones.c.node, tombstones.c.push_id).where(session.mine(tombstones))
    found = rows(session, pairs.order_by(tombstones.c.push_id), tombstones.c.node, nodes)
    return {row.node: row.push_id for row in found}


def needs(session: Session, push_ids: Sequence[int]) -> list[ServingNeeds]:
    """Return what a server must have to serve these pushes, in the order of their ids."""
    in_bundle = (
        select(bundle_changesets.c.bundle_id)
        .where(bundle_changesets.c.changeset_id == changesets.c.id)
        .exists()
        .label('bundled')
    )
    query = _listed(session, [changesets.c.node, changesets.c.p1, changesets.c.p2, in_bundle])
    return [
        ServingNeeds(row.push_id, row.node, (row.p1, row.p2), bool(row.bundled))
        for row in rows(session, query, push_changesets.c.push_id, push_ids)
    ]


def _entry(row: Any) -> Entry:
    return Entry(row.push_id, row.user, row.date)


def _nameonly(row: Any) -> Changeset:
    return Changeset(row.node, row.p1, row.p2, b'', b'', 0, 0, b'', files=(), extras=())


def facts(row: Any) -> Changeset:
    """Return the changeset of a row of `schema.changesets`."""
    extras = tuple(sorted(statements.split_extras(row.extras).items()))
    return _changeset(row, row.files, extras)


def _changeset(row: Any, files: bytes, extras: tuple[tuple[bytes, bytes], ...]) -> Changeset:
    return Changeset(
        node=row.node,
        p1=row.p1,
        p2=row.p2,
        branch=row.branch,
        author=row.author,
        date=row.date,
        timezone=row.timezone,
        description=row.description,
        files=tuple(files.split(b'\0')) if files else (),
        extras=extras,
    )


def past_pushes(session: Session, push_ids: Sequence[int]) -> list[PushNodes]:
    """Return those of ``push_ids`` that are recorded, oldest first."""
    found: list[PushNodes] = []
    for batch in batches(sorted(push_ids)):
        older = entries(session, Selection(push_ids=tuple(batch)), newest=False, limit=None)
        # What is gone has no extras.
        listed = nodes_of(session, [entry.push_id for entry in older])
        found += [
            PushNodes(
                entry.push_id,
                entry.user,
                entry.date,
                nodes=tuple(node for node, _extras in listed[entry.push_id]),
                tombstoned=frozenset(node for node, extras in listed[entry.push_id] if not extras),
            )
            for entry in older
        ]
    return found
