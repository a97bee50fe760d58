"""The bookmarks of a push.

The database has the bookmarks of drafts, the repository all others. If both have a name, the
repository's counts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from mercurial import bookmarks, error
from mercurial.node import short

from .. import hgcompat
from ..catalog import bookmarks as catalog_bookmarks, statements
from ..errors import Raced, Refused
from ..model import BookmarkMove
from .incoming import Incoming

#: Maximum size of a name in bytes: the database indexes it.
_MAX_NAME = 1000


class Plan(NamedTuple):
    """What a push does to bookmarks.

    ``stored`` are changes to the database. ``applied`` are changes to the repository (None
    deletes), made before the database's. ``leaving`` are names to remove from the repository
    after the database's changes, so that no crash loses a bookmark. ``seen`` is what the
    repository had for all names of the plan. ``changed`` is what users see of it: where a
    bookmark was (None: nowhere), and where it is.
    """

    stored: list[BookmarkMove]
    applied: list[tuple[bytes, bytes | None]]
    leaving: list[bytes]
    seen: dict[bytes, bytes | None]
    changed: dict[bytes, tuple[bytes | None, bytes | None]]


def plan(incoming: Incoming, publishing: Collection[bytes]) -> Plan:
    """Plan what a push does to bookmarks. ``publishing`` are the changesets that it makes public.

    Their bookmarks move from the database to the repository with them. Raise `error.PushRaced`
    if a bookmark is not where the client expects it, `Refused`, and `errors.Temporary`.
    """
    asked = incoming.bookmarks
    result = Plan([], [], [], {}, {})
    if not (asked or publishing):
        return result
    own = hgcompat.bookmarks(incoming.repo)
    with incoming.backend.catalog.reading() as session:
        rows = catalog_bookmarks.places(session, asked)
        published = catalog_bookmarks.at(session, publishing)
    for name, accepted in incoming.expected.items():
        found = own.get(name) or rows.get(name)
        if name in asked and found not in accepted:
            raise raced(Raced(name, accepted[0], found))
    has_node = incoming.repo.unfiltered().changelog.hasnode
    newly_public = frozenset(publishing)
    for name, node in asked.items():
        _check_name(incoming, name, node)
        result.seen[name] = own.get(name)
        old = rows.get(name)
        if (was := own.get(name) or old) != node:
            result.changed[name] = (was, node)
        if node is None or node in newly_public or has_node(node):
            if own.get(name) != node:
                result.applied.append((name, node))
            if old is not None:
                result.stored.append(BookmarkMove(name, old, None))
        else:
            if old != node:
                result.stored.append(BookmarkMove(name, old, node))
            if name in own:
                result.leaving.append(name)
    for name, node in published.items():
        if name not in asked:
            result.stored.append(BookmarkMove(name, node, None))
            result.seen[name] = own.get(name)
            if name not in own:
                result.applied.append((name, node))
    return result


def check(repo: Any, seen: dict[bytes, bytes | None]) -> None:
    """Raise `error.PushRaced` if the repository's bookmarks are not what a plan has ``seen``."""
    for name, node in seen.items():
        found = hgcompat.bookmarks(repo).get(name)
        if found != node:
            raise raced(Raced(name, node, found))


def check_drafts(session: statements.Session, plan: Plan) -> None:
    """Raise `error.PushRaced` if a bookmark that becomes public is a draft's meanwhile."""
    planned = {move.name: move.old for move in plan.stored}
    names = [name for name, node in plan.applied if node is not None]
    for name, node in catalog_bookmarks.places(session, names).items():
        if planned.get(name) != node:
            raise raced(Raced(name, planned.get(name), node))


def raced(exc: Raced) -> error.PushRaced:
    """Return Mercurial's error, with the text of `bundle2`'s handler of ``check:bookmarks``."""
    name, expected, found = exc.name, exc.expected, exc.found
    if found is None:
        what = b'is missing, expected %s' % short(expected or b'')
    elif expected is None:
        what = b'set on %s, expected missing' % short(found)
    else:
        what = b'move from %s to %s' % (short(expected), short(found))
    return error.PushRaced(
        b'remote repository changed while pushing - please try again (bookmark "%s" %s)'
        % (hgcompat.escaped_bytes(name)[:100], what)
    )


def _check_name(incoming: Incoming, name: bytes, node: bytes | None) -> None:
    shown = hgcompat.escaped(name)
    if bookmarks.isdivergent(name):
        raise Refused(f'cannot accept divergent bookmark {shown}!')
    if node is None:
        return
    try:
        bookmarks.checkformat(incoming.repo, name)
    except error.Abort as exc:
        raise Refused(f'bookmark {shown}: {hgcompat.to_str(exc.message)}') from exc
    if not hgcompat.is_plain(name):
        raise Refused(f'bookmark {shown}: the name is not UTF-8, or has control characters')
    if len(name) > _MAX_NAME:
        raise Refused(f'the name of bookmark {shown[:40]}... is too long')
