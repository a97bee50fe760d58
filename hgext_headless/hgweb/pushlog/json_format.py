"""The pushlog as JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from mercurial.node import hex, nullid

from ...backend import Backend
from ...bundles import markers
from ...model import Changeset, Entry
from . import states
from .query import Query

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
        pushes = (
            _full(backend, repo, query, batch)
            if query.full
            else _plain(backend, repo, query, batch)
        )
        lines = (f'"{e.push_id}": {json.dumps(push)}' for e, push in zip(batch, pushes))
        yield (prefix + ', '.join(lines)).encode('ascii')
        prefix = ', '
    suffix = '}' if query.version == 1 else '}}'
    yield ((prefix if not entries else '') + suffix).encode('ascii')


def _plain(
    backend: Backend, repo: Any, query: Query, batch: Sequence[Entry]
) -> Iterator[dict[str, Any]]:
    found = backend.reader.nodes_of([e.push_id for e in batch], query.tips_only)
    nodes = (node for listed in found.values() for node, _extras in listed)
    obsolete = states.obsolete(backend, repo, nodes)
    for entry in batch:
        listed = [
            (node, hex(node).decode('ascii'), _git(extras)) for node, extras in found[entry.push_id]
        ]
        yield _push(entry, listed, obsolete)


def _full(
    backend: Backend, repo: Any, query: Query, batch: Sequence[Entry]
) -> Iterator[dict[str, Any]]:
    """With objects for changesets; consumers read their authors and descriptions as text, so
    what is gone is left out, as hg.mozilla.org does."""
    found = {
        push_id: [changeset for changeset in listed if not changeset.is_tombstone]
        for push_id, listed in backend.reader.changesets_of(
            [e.push_id for e in batch], query.tips_only
        ).items()
    }
    commits = {c.node: _git(dict(c.extras)) for listed in found.values() for c in listed}
    obsolete = states.obsolete(backend, repo, commits)
    precursors = _precursors(backend, repo, commits)
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


def _precursors(backend: Backend, repo: Any, nodes: Collection[bytes]) -> dict[bytes, set[str]]:
    """The changesets that some changesets replace: hexadecimal."""
    found: dict[bytes, set[str]] = {}
    stored = map(markers.unpack, backend.reader.markers_with(nodes))
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
