"""The pushlog as JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mercurial.node import hex, nullid

from ...backend import Backend
from ...bundles import markers
from ...model import Changeset, Entry
from .query import Query

if TYPE_CHECKING:
    from ...catalog.catalog import Questions

#: Pushes whose changesets are in memory at a time.
BATCH = 100


def text(data: bytes) -> str:
    return data.decode('utf-8', 'replace')


def answer(
    backend: Backend, repo: Any, query: Query, entries: Sequence[Entry], last: int
) -> Iterator[bytes]:
    """The chunks of the answer. What can fail fails before the first one."""
    chunks = _chunks(backend, repo, query, entries, last)
    first = next(chunks)
    return itertools.chain([first], chunks)


def _chunks(
    backend: Backend, repo: Any, query: Query, entries: Sequence[Entry], last: int
) -> Iterator[bytes]:
    prefix = '{' if query.version == 1 else f'{{"lastpushid": {last}, "pushes": {{'
    for start in range(0, len(entries), BATCH):
        batch = entries[start : start + BATCH]
        # A slow client keeps no connection: each chunk is whole before it is sent.
        with backend.reader.reading() as session:
            pushes = (_full if query.full else _plain)(session, repo, query, batch)
            lines = [f'"{e.push_id}": {json.dumps(push)}' for e, push in zip(batch, pushes)]
        yield (prefix + ', '.join(lines)).encode('ascii')
        prefix = ', '
    suffix = '}' if query.version == 1 else '}}'
    yield ((prefix if not entries else '') + suffix).encode('ascii')


def _plain(
    session: Questions, repo: Any, query: Query, batch: Sequence[Entry]
) -> Iterator[dict[str, Any]]:
    found = session.nodes_of([e.push_id for e in batch], query.tips_only)
    obsolete = _obsolete(session, repo, (node for listed in found.values() for node, _ in listed))
    for entry in batch:
        listed = [
            (node, hex(node).decode('ascii'), _git(extras)) for node, extras in found[entry.push_id]
        ]
        yield _push(entry, listed, obsolete)


def _full(
    session: Questions, repo: Any, query: Query, batch: Sequence[Entry]
) -> Iterator[dict[str, Any]]:
    found = session.changesets_of([e.push_id for e in batch], query.tips_only)
    commits = {c.node: _git(dict(c.extras)) for listed in found.values() for c in listed}
    obsolete = _obsolete(session, repo, commits)
    precursors = _precursors(session, repo, commits)
    for entry in batch:
        listed = [
            (c.node, _changeset(repo, c, commits, precursors.get(c.node)), commits[c.node])
            for c in found[entry.push_id]
        ]
        yield _push(entry, listed, obsolete)


def _push(
    entry: Entry, listed: Sequence[tuple[bytes, Any, str | None]], obsolete: set[bytes]
) -> dict[str, Any]:
    shown = [item for item in listed if item[0] not in obsolete]
    push: dict[str, Any] = {
        'changesets': [changeset for _node, changeset, _commit in shown],
        'date': entry.date,
        'user': text(entry.user),
    }
    if shown:
        push['git_changesets'] = [commit for _node, _changeset, commit in shown]
    if len(shown) < len(listed):
        push['obsoletechangesets'] = [
            changeset for node, changeset, _commit in listed if node in obsolete
        ]
    return push


def _obsolete(session: Questions, repo: Any, nodes: Iterable[bytes]) -> set[bytes]:
    """Those of some changesets that are obsolete, by the repository's markers or by
    those of drafts, and hidden."""
    asked = set(nodes)
    successors = repo.obsstore.successors
    marked = session.obsolete(asked) | {node for node in asked if node in successors}
    return {node for node in marked if not repo.changelog.hasnode(node)}


def _precursors(session: Questions, repo: Any, nodes: Collection[bytes]) -> dict[bytes, set[str]]:
    """The changesets that some changesets replace: hexadecimal."""
    found: dict[bytes, set[str]] = {}
    stored = map(markers.unpack, session.markers_with(nodes))
    own = (m for node in nodes for m in repo.obsstore.predecessors.get(node, ()))
    for predecessor, successors, *_rest in itertools.chain(stored, own):
        for node in successors:
            found.setdefault(node, set()).add(predecessor.hex())
    return found


def _changeset(
    repo: Any,
    changeset: Changeset,
    commits: dict[bytes, str | None],
    precursors: set[str] | None,
) -> dict[str, Any]:
    parents = [changeset.p1] if changeset.p2 == nullid else [changeset.p1, changeset.p2]
    commit = commits[changeset.node]
    entry: dict[str, Any] = {
        'author': text(changeset.author),
        'branch': text(changeset.branch),
        'desc': text(changeset.description),
        'files': sorted(map(text, changeset.files)),
        'git_node': commit,
        # Where a changeset came from git, so did its parents.
        'git_parents': [commit and _parent_commit(repo, p, commits) for p in parents],
        'node': changeset.node.hex(),
        'parents': [parent.hex() for parent in parents],
        'tags': [text(tag) for tag in repo.nodetags(changeset.node)],
    }
    if precursors:
        entry['precursors'] = sorted(precursors)
    return entry


def _parent_commit(repo: Any, parent: bytes, commits: dict[bytes, str | None]) -> str | None:
    if parent in commits:
        return commits[parent]
    changelog = repo.unfiltered().changelog
    if parent == nullid or not changelog.hasnode(parent):
        return None
    return _git(changelog.changelogrevision(parent).extra)


def _git(extras: dict[bytes, bytes]) -> str | None:
    commit = extras.get(b'git_commit')
    return None if commit is None else text(commit)
