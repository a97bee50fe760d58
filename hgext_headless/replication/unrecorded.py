"""Pushes whose public changesets are in the repository, but maybe not in the database.

A server can die between these two steps, or the database can fail. The client is told that the
push failed, but the next attempt finds nothing to push, so no push would ever list the
changesets. So a note is written first, and removed when the push is recorded. If a note is
left, the next push to this server, or ``headless-follow``, records its push.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial import util

from .. import hgcompat, place as places
from ..backend import Backend
from ..bundles import check
from ..catalog import record as catalog_record
from ..errors import Refused, Temporary
from ..lifecycle import upload
from ..model import Push

#: A folder in the store.
_FOLDER = b'headless-unrecorded'
#: Suffix of the name of a note whose push has failed while its process goes on.
_FAILED = b'.failed'


@contextlib.contextmanager
def noted(repo: Any, nodes: Sequence[bytes], user: str) -> Iterator[None]:
    """Keep a note while a push adds ``nodes`` to the repository and is recorded.

    Nothing is written if there are none. Raise `Temporary` if the note cannot be written.
    """
    if not nodes:
        yield
        return
    folder = repo.svfs.join(_FOLDER)
    path = os.path.join(folder, secrets.token_hex(8).encode('ascii'))
    note = {
        'process': hgcompat.process(),
        'user': user,
        'nodes': [node.hex() for node in nodes],
    }
    try:
        # As Mercurial makes folders of the store: a group may share it.
        util.makedirs(folder, repo.store.createmode)
        _write(path, json.dumps(note))
    except OSError as exc:
        raise Temporary(f'the repository cannot be written: {exc.strerror}') from exc
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.rename(path, path + _FAILED)
        raise
    with contextlib.suppress(OSError):
        os.unlink(path)


def _write(path: bytes, text: str) -> None:
    descriptor = os.open(path + b'.new', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with open(descriptor, 'w', encoding='ascii') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + b'.new', path)


def record(repo: Any, backend: Backend) -> int:
    """Record the pushes of notes that are left; return the number of recorded pushes.

    A push that is refused, because a changeset was removed for good meanwhile, is only logged:
    it must not block others. Notes of pushes that are under way are left alone. Raise
    `Temporary` and `errors.Misconfigured`.
    """
    folder = repo.svfs.join(_FOLDER)
    try:
        found = sorted(os.listdir(folder))
    except OSError:
        return 0
    recorded = 0
    for name in found:
        path = os.path.join(folder, name)
        note = _left(path)
        if note is not None:
            try:
                recorded += _record(repo, backend, note)
            except Refused as exc:
                repo.ui.log(b'headless', b'unrecorded: %s\n', hgcompat.to_bytes(exc.line()))
            with contextlib.suppress(OSError):
                os.unlink(path)
    return recorded


def _left(path: bytes) -> dict[str, Any] | None:
    """Return the note at ``path``, or None if it may belong to a running push."""
    try:
        with open(path, encoding='ascii') as file:
            age = time.time() - os.fstat(file.fileno()).st_mtime
            note: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return None
    # By age, because a container has another host name each time that it is started.
    ended = (
        path.endswith(_FAILED)
        or hgcompat.is_dead(note['process'])
        or age > upload.LONGEST_PUSH
    )
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
