"""What a server may show of the pushlog, only what it can serve, and the state of a changeset.

A replica may not yet have the public changesets that a push brought or builds on. Then neither
this push nor a later one is shown, so that a client that polls for pushes after an id misses
none. Pushes of an older pushlog are always shown, because their changesets may never have been
imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mercurial.node import hex, nullid

from ...backend import Backend
from ...catalog import bans, drafts, markers, pushlog, search, statements
from ...model import Changeset, Selection, ServingNeeds
from . import links

#: See `row`.
Row = tuple[bytes, int]
#: The state of a changeset that is gone, by the action of the row that explains it.
_STATES: dict[str | None, bytes] = {bans.OBLITERATE: b'removed', bans.LOST: b'lost'}
#: Number of the newest pushes that a process checks at first: a replica lags by fewer.
_WINDOW = 2000
#: Number of pushes in one query.
_BATCH = 200
#: Numbers of digits of a hash that is not whole: usual ones, and what people write.
USUAL, ANY = (12,), range(7, 13)


class State(NamedTuple):
    """The state of a changeset: see `states_of`; and when it went, in seconds since the epoch."""

    name: bytes
    gone: int | None = None


def last_shown(backend: Backend, session: statements.Session, repo: Any) -> int:
    """Return the highest push id such that this server can serve it and all pushes below it.

    Only the pushes above the last result are checked.
    """
    last = pushlog.last_push_id(session)
    memory = backend.read_catalog.memory('last shown', repo.root)
    seen = min(memory.get('push_id', max(0, last - _WINDOW)), last)
    if seen < last:
        seen = max(seen, min(pushlog.imported_push_id(session), last))
    while seen < last:
        # An epoch begins far above the one before.
        after = Selection(after=seen, upto=last)
        following = pushlog.entries(session, after, newest=False, limit=_BATCH)
        first = next(pushlog.together(session, following), [])
        push_ids = [entry.push_id for entry in first]
        missing = _first_missing(session, repo, pushlog.needs(session, push_ids))
        seen = (push_ids[-1] if push_ids else last) if missing is None else missing - 1
        if missing is not None:
            break
    memory['push_id'] = seen
    return seen


def _first_missing(
    session: statements.Session, repo: Any, needs: Sequence[ServingNeeds]
) -> int | None:
    """Return the first push that needs what the repository lacks; None if there is none."""
    has_node = repo.unfiltered().changelog.hasnode
    brought = {need.node for need in needs}
    others = {
        parent
        for need in needs
        for parent in need.parents
        if parent not in brought and parent != nullid and not has_node(parent)
    }
    if others:
        # Drafts of other pushes, which are checked separately, and drafts that no push brought.
        brought.update(pushlog.brought(session, others))
        brought.update(drafts.known(session, others))
    for need in needs:
        if has_node(need.node):
            continue
        if not need.bundled:
            return need.push_id
        for parent in need.parents:
            if parent != nullid and parent not in brought and not has_node(parent):
                return need.push_id
    return None


def obsolete(session: statements.Session, repo: Any, nodes: Iterable[bytes]) -> set[bytes]:
    """Return those of ``nodes`` that are obsolete, by any marker, and not visible here."""
    asked = set(nodes)
    successors = repo.obsstore.successors
    marked = markers.obsolete(session, asked) | {node for node in asked if node in successors}
    return {node for node in marked if not repo.changelog.hasnode(node)}


def states_of(
    session: statements.Session, repo: Any, pushes: Mapping[int, Sequence[Changeset]]
) -> dict[Row, State]:
    """Return the state of each changeset of ``pushes``, by `row`.

    It is ``public``, ``draft`` or ``obsolete``. For a changeset that is gone, it is ``removed``,
    ``lost``, ``expired``, or ``gone`` if the reason is unknown, because an older pushlog names
    changesets that were never imported.
    """
    listed = [changeset for changesets in pushes.values() for changeset in changesets]
    live = [changeset.node for changeset in listed if not changeset.is_tombstone]
    hidden = obsolete(session, repo, live)
    here = {node for node in live if repo.changelog.hasnode(node)}
    states = {(n, 0): State(repo[n].phasestr() if n in here else b'draft') for n in live}
    states.update(dict.fromkeys(((node, 0) for node in hidden), State(b'obsolete')))
    states.update(_gone(session, pushes))
    return states


def row(changeset: Changeset, push_id: int) -> Row:
    """Return what distinguishes a changeset in a list from one that was gone and pushed again."""
    return changeset.node, push_id if changeset.is_tombstone else 0


def backouts(
    session: statements.Session,
    repo: Any,
    nodes: Iterable[bytes],
    for_people: bool = True,
    digits: Iterable[int] = USUAL,
) -> dict[bytes, bytes]:
    """Return the changesets that back one of ``nodes`` out, as their descriptions say, by node.

    How they say it is as in `links`, with all digits of a hash or one of the numbers ``digits``,
    for each of which all nodes are looked up. What a draft says of public history is not so until
    the draft is public.
    """
    has_node = repo.changelog.hasnode
    whole = {hex(node).decode('ascii'): node for node in nodes}
    named = {name[:number]: node for number in digits for name, node in whole.items()}
    found: dict[bytes, bytes] = {}
    for other, description in search.naming(session, [*named, *whole]):
        for name in links.backed_out(description.decode('utf-8', 'replace'), for_people):
            node = named.get(name)
            if node is not None and (has_node(other) or not has_node(node)):
                found.setdefault(node, other)
    return found


def _gone(
    session: statements.Session, pushes: Mapping[int, Sequence[Changeset]]
) -> Iterator[tuple[Row, State]]:
    listed = [
        row(changeset, push_id)
        for push_id, changesets in pushes.items()
        for changeset in changesets
        if changeset.is_tombstone
    ]
    if not listed:
        return
    fates = bans.fates(session, [node for node, _push_id in listed])
    imported = pushlog.imported_push_id(session)
    for node, push_id in listed:
        expired = b'gone' if push_id <= imported else b'expired'
        action, gone = fates[node, push_id]
        yield (node, push_id), State(_STATES.get(action, expired), gone)
