"""Pushes whose public changesets are in the repository, but maybe not in the database.

A server can die between these two steps, or the database can fail. The client is told that the
push failed, but the next attempt finds nothing to push, so no push would ever list the
changesets. So a note is written first, and removed when the push is recorded. If a note is
left, the next push to this server, or ``headless-follow``, records its push.

Notes of recorded pushes are kept for a while, also of those that another server took. If the
database is restored from before a push, its changesets are public here, and the log of public
history lacks them: then the push is recorded again, as one of the same user.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from mercurial import util

from .. import hgcompat, place as places, sharing
from ..backend import Backend
from ..bundles import check
from ..catalog import epochs, pushlog, record as catalog_record
from ..errors import Refused, file_failed
from ..lifecycle import upload
from ..model import Push

#: A folder in the store.
_FOLDER = b'headless-unrecorded'
#: Another one, for notes of pushes that were recorded, and their number. They are in the order of
#: their names.
_RECORDED, _KEPT = b'headless-recorded', 1000
#: Suffix of the name of a note whose push has failed while its process goes on.
_FAILED = b'.failed'


@contextlib.contextmanager
def noted(repo: Any, nodes: Sequence[bytes], user: str) -> Iterator[None]:
    """Keep a note while a push adds ``nodes`` to the repository and is recorded.

    Nothing is written if there are none. Raise as `file_failed` says if the note cannot be written.
    """
    if not nodes:
        yield
        return
    try:
        path = _note(repo, nodes, user)
    except OSError as exc:
        text = 'the repository cannot be written'
        raise file_failed(text, exc, hgcompat.to_str(repo.root)) from exc
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.rename(path, path + _FAILED)
        raise
    _keep(repo, path)


def note_followed(repo: Any, backend: Backend, nodes: Sequence[bytes]) -> None:
    """Keep notes of the pushes that brought ``nodes`` to another server."""
    pushes: dict[int, tuple[str, list[bytes]]] = {}
    brought = backend.catalog.read(pushlog.brought, nodes, False)
    for node in nodes:
        if node in brought:
            entry = brought[node].entry
            pushes.setdefault(entry.push_id, (hgcompat.to_str(entry.user), []))[1].append(node)
    for _push_id, (user, its) in sorted(pushes.items())[-_KEPT:]:
        with contextlib.suppress(OSError):
            _keep(repo, _note(repo, its, user))


def _note(repo: Any, nodes: Sequence[bytes], user: str) -> bytes:
    """Write a note; return its path. Raise OSError."""
    folder = repo.svfs.join(_FOLDER)
    path = os.path.join(folder, secrets.token_hex(8).encode('ascii'))
    note = {
        'process': hgcompat.process(),
        'user': user,
        'nodes': [node.hex() for node in nodes],
    }
    util.makedirs(folder, repo.store.createmode)
    _write(path, json.dumps(note))
    return path


def _keep(repo: Any, path: bytes) -> None:
    """Keep the note of a push that is recorded; remove the oldest ones."""
    folder = repo.svfs.join(_RECORDED)
    with contextlib.suppress(OSError):
        util.makedirs(folder, repo.store.createmode)
        name = b'%020d-%s' % (time.time_ns(), os.path.basename(path))
        os.rename(path, os.path.join(folder, name))
        for old in sorted(os.listdir(folder))[:-_KEPT]:
            os.unlink(os.path.join(folder, old))
    with contextlib.suppress(OSError):
        os.unlink(path)


def _write(path: bytes, text: str) -> None:
    descriptor = os.open(path + b'.new', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with open(descriptor, 'w', encoding='ascii') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sharing.share(path + b'.new')
    os.rename(path + b'.new', path)


def record(repo: Any, backend: Backend) -> int:
    """Record the pushes of notes that are left; return the number of recorded pushes.

    A push that is refused, because a changeset was removed for good meanwhile, is only logged:
    it must not block others. Notes of pushes that are under way are left alone, and all as long as
    the repository has an unfinished transaction. Raise `Temporary` and `errors.Misconfigured`.
    """
    folder = repo.svfs.join(_FOLDER)
    try:
        found = sorted(os.listdir(folder))
    except OSError:
        return 0
    if found and repo.svfs.exists(b'journal'):
        return 0  # of a process that was killed: what is there will be taken back
    recorded = 0
    for name in found:
        path = os.path.join(folder, name)
        note = _left(path)
        if note is not None:
            try:
                recorded += _record(repo, backend, note)
            except Refused as exc:
                repo.ui.log(b'headless', b'unrecorded: %s\n', hgcompat.to_bytes(exc.line()))
            _keep(repo, path)
    return recorded


def again(repo: Any, backend: Backend, ids: Ids, lost: Collection[bytes] | None = None) -> None:
    """Record again the pushes that the database has lost, or those of the changesets ``lost``.

    What an operator has pulled has no note: there was no push. Raise as `record`.
    """
    notes = [(note, set(map(bytes.fromhex, note['nodes']))) for note in _recorded(repo)]
    if lost is not None:
        notes = [(note, nodes) for note, nodes in notes if not nodes.isdisjoint(lost)]
    wanted = {node for _note, nodes in notes for node in nodes if places.is_public(repo, node)}
    unlisted = wanted - backend.catalog.read(pushlog.brought, wanted, False).keys()
    for note, nodes in notes:
        if not nodes.isdisjoint(unlisted):
            ids.prepare(unlisted)
            _record(repo, backend, note)


def _recorded(repo: Any) -> Iterator[dict[str, Any]]:
    """Yield the notes of recorded pushes in their order."""
    folder = repo.svfs.join(_RECORDED)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        # Another process may have removed it.
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(folder, name), encoding='ascii') as file:
                yield json.load(file)


class Ids:
    """Begins an epoch before the first push that is recorded again; then it is ``epoch``."""

    def __init__(self, backend: Backend) -> None:
        self._catalog = backend.catalog
        self.epoch: epochs.Epoch | None = None

    def prepare(self, nodes: Iterable[bytes]) -> None:
        """Begin an epoch if a push is going to list some of ``nodes``."""
        if self.epoch is None:
            wanted = set(nodes)
            if wanted - self._catalog.read(pushlog.brought, wanted, False).keys():
                self.epoch = self._catalog.write(epochs.begin)


def _left(path: bytes) -> dict[str, Any] | None:
    """Return the note at ``path``, or None if it may belong to a running push."""
    try:
        with open(path, encoding='ascii') as file:
            age = time.time() - os.fstat(file.fileno()).st_mtime
            note: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return None
    # By age, because a container has another host name each time that it is started.
    ended = path.endswith(_FAILED) or hgcompat.is_dead(note['process']) or age > upload.LONGEST_PUSH
    return note if ended else None


def _record(repo: Any, backend: Backend, note: dict[str, Any]) -> bool:
    """Record a push with those of its changesets that reached the repository."""
    repo.invalidateall()
    unfiltered = repo.unfiltered()
    nodes = [bytes.fromhex(node) for node in note['nodes']]
    there = [node for node in nodes if places.is_public(repo, node)]
    if not there:
        return False
    changesets = tuple(check.of_changelog(unfiltered, node) for node in there)
    push = Push(note['user'], changesets)
    return backend.catalog.write(catalog_record.record, push, {}).push_id is not None
