"""The current state of a changeset of the pushlog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...catalog import bans, markers, pushlog, session as sessions
from ...model import Changeset


def obsolete(session: sessions.Session, repo: Any, nodes: Iterable[bytes]) -> set[bytes]:
    """Return those of ``nodes`` that are obsolete and not visible in the repository.

    Both the repository's markers and those of drafts count.
    """
    asked = set(nodes)
    successors = repo.obsstore.successors
    marked = markers.obsolete(session, asked) | {node for node in asked if node in successors}
    return {node for node in marked if not repo.changelog.hasnode(node)}


def of(
    session: sessions.Session, repo: Any, pushes: Mapping[int, Sequence[Changeset]]
) -> dict[bytes, bytes]:
    """Return the state of each changeset of ``pushes``, by node.

    It is ``public``, ``draft`` or ``obsolete``. For a changeset that is gone, it is
    ``removed``, ``expired``, or ``gone`` if the reason is unknown, because an older pushlog
    names changesets that were never imported.
    """
    listed = [changeset for changesets in pushes.values() for changeset in changesets]
    live = [changeset.node for changeset in listed if not changeset.is_tombstone]
    hidden = obsolete(session, repo, live)
    states = {
        node: b'obsolete' if node in hidden else _phase(repo, node) for node in live
    }
    states.update(_gone(session, pushes))
    return states


def _phase(repo: Any, node: bytes) -> bytes:
    if not repo.changelog.hasnode(node):
        return b'draft'
    phase: bytes = repo[node].phasestr()
    return phase


def _gone(
    session: sessions.Session, pushes: Mapping[int, Sequence[Changeset]]
) -> Iterator[tuple[bytes, bytes]]:
    tombstones = {
        changeset.node: push_id
        for push_id, changesets in pushes.items()
        for changeset in changesets
        if changeset.is_tombstone
    }
    if not tombstones:
        return
    removed = bans.among(session, tombstones)
    imported = pushlog.imported_push_id(session)
    for node, push_id in tombstones.items():
        if node in removed:
            yield node, b'removed'
        else:
            yield node, b'gone' if push_id <= imported else b'expired'
