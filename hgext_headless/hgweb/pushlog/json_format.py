"""The pushlog as JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial.node import hex, nullid

from ...catalog import epochs, pushlog, statements
from ...model import Changeset, Entry
from .. import fates
from . import visibility
from .query import Query

#: Maximum number of pushes, and of their changesets in full, that are in memory at a time; and of
#: the bytes of the texts of these, unless one has more.
BATCH, CHANGESETS, _BYTES = 100, 2000, 8 << 20


def text(data: bytes) -> str:
    return data.decode('utf-8', 'replace')


def answer(repo: Any, query: Query, entries: Sequence[Entry], last: int) -> Iterator[bytes]:
    """Return the chunks of the answer."""
    return begun(_chunks(repo, query, entries, last))


def begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Make the first of ``chunks`` now, so that errors are raised here; return all."""
    return itertools.chain([next(chunks)], chunks)


def _chunks(repo: Any, query: Query, entries: Sequence[Entry], last: int) -> Iterator[bytes]:
    prefix = '{'
    if query.version != 1:
        with repo.headless.read_catalog.reading() as session:
            epoch = epochs.current(session)
        named = '' if epoch is None else f'"epoch": "{epoch.name}", '
        prefix = f'{{"lastpushid": {last}, {named}"pushes": {{'
    for batch in _batches(repo, query, entries):
        # Each chunk is complete before it is sent, so that a slow client holds no connection.
        if isinstance(batch, Entry):
            for chunk in _large(repo, batch):
                yield (prefix + chunk).encode('ascii')
                prefix = ''
        else:
            with repo.headless.read_catalog.reading() as session:
                pushes = (_full if query.full else _plain)(session, repo, query, batch)
                lines = [f'"{e.push_id}": {json.dumps(push)}' for e, push in zip(batch, pushes)]
            yield (prefix + ', '.join(lines)).encode('ascii')
        prefix = ', '
    suffix = '}' if query.version == 1 else '}}'
    yield ((prefix if not entries else '') + suffix).encode('ascii')


def _batches(
    repo: Any, query: Query, entries: Sequence[Entry]
) -> Iterator[Sequence[Entry] | Entry]:
    """Yield lists of pushes whose changesets fit into memory together, or one larger push."""
    for start in range(0, len(entries), BATCH):
        batch = entries[start : start + BATCH]
        found: Sequence[Sequence[Entry] | Entry] = [batch]
        if not query.tips_only:
            with repo.headless.read_catalog.reading() as session:
                found = list((_in_full if query.full else pushlog.together)(session, batch))
        yield from found


def _in_full(
    session: statements.Session, batch: Sequence[Entry]
) -> Iterator[Sequence[Entry] | Entry]:
    push_ids = [entry.push_id for entry in batch]
    numbers, lengths = pushlog.sizes(session, push_ids), pushlog.bytes_of(session, push_ids)

    def share(entry: Entry) -> float:
        """Return how much of what may be in memory a push takes."""
        return max(numbers[entry.push_id] / CHANGESETS, lengths[entry.push_id] / _BYTES)

    for portion in statements.portions(batch, BATCH, share, 1):
        yield portion[0] if share(portion[0]) > 1 else portion


def _large(repo: Any, entry: Entry) -> Iterator[str]:
    """Yield a push in full as JSON text, some changesets at a time."""
    with repo.headless.read_catalog.reading() as session:
        nodes = pushlog.nodes_of(session, [entry.push_id])[entry.push_id]
        # What is gone has no extras.
        listed = [(node, extras) for node, extras in nodes if extras]
        pieces = list(pushlog.pieces(session, entry.push_id, CHANGESETS, _BYTES))
        commits = {node: _git(extras) for node, extras in listed}
        obsolete = visibility.obsolete(session, repo, commits)
    # The push without the facts of its changesets, for its keys and its other values.
    rest = _push(entry, [(node, None, commits[node]) for node, _extras in listed], obsolete)
    yield f'"{entry.push_id}": {{'
    separator = ''
    for key, value in rest.items():
        if key not in ('changesets', 'obsoletechangesets'):
            yield f'{separator}{json.dumps(key)}: {json.dumps(value)}'
        else:
            yield f'{separator}{json.dumps(key)}: ['
            between = ''
            wanted = commits.keys() - obsolete if key == 'changesets' else obsolete
            for start, number in pieces:
                with repo.headless.read_catalog.reading() as session:
                    found = pushlog.changesets_from(session, entry.push_id, start, number)
                    shown = [c for c in found if c.node in wanted and not c.is_tombstone]
                    precursors = fates.predecessors(session, repo, {c.node for c in shown})
                lines = [
                    json.dumps(_changeset(repo, c, commits, precursors.get(c.node))) for c in shown
                ]
                if lines:
                    yield between + ', '.join(lines)
                    between = ', '
            yield ']'
        separator = ', '
    yield '}'


def _plain(
    session: statements.Session, repo: Any, query: Query, batch: Sequence[Entry]
) -> Iterator[dict[str, Any]]:
    found = pushlog.nodes_of(session, [e.push_id for e in batch], query.tips_only)
    nodes = (node for listed in found.values() for node, _extras in listed)
    obsolete = visibility.obsolete(session, repo, nodes)
    for entry in batch:
        listed = [
            (node, hex(node).decode('ascii'), _git(extras)) for node, extras in found[entry.push_id]
        ]
        yield _push(entry, listed, obsolete)


def _full(
    session: statements.Session, repo: Any, query: Query, batch: Sequence[Entry]
) -> Iterator[dict[str, Any]]:
    """Yield pushes with objects for changesets.

    Changesets that are gone are left out, as on hg.mozilla.org, because consumers read authors
    and descriptions as text.
    """
    found = {
        push_id: [changeset for changeset in listed if not changeset.is_tombstone]
        for push_id, listed in pushlog.changesets_of(
            session, [e.push_id for e in batch], query.tips_only
        ).items()
    }
    commits = {c.node: _git(dict(c.extras)) for listed in found.values() for c in listed}
    obsolete = visibility.obsolete(session, repo, commits)
    precursors = fates.predecessors(session, repo, commits)
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


def _changeset(
    repo: Any,
    changeset: Changeset,
    commits: dict[bytes, str | None],
    precursors: set[bytes] | None,
) -> dict[str, Any]:
    parents = [changeset.p1] if changeset.p2 == nullid else [changeset.p1, changeset.p2]
    entry: dict[str, Any] = {
        'author': text(changeset.author),
        'branch': text(changeset.branch),
        'desc': text(changeset.description),
        'files': sorted(map(text, changeset.files)),
        'git_node': commits[changeset.node],
        'git_parents': [_parent_commit(repo, p, commits) for p in parents],
        'node': changeset.node.hex(),
        'parents': [parent.hex() for parent in parents],
        'tags': [text(tag) for tag in repo.nodetags(changeset.node)],
    }
    if precursors:
        entry['precursors'] = sorted(node.hex() for node in precursors)
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
