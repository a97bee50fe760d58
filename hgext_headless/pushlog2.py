"""A ``pushlog2.db``: the pushlog of hg.mozilla.org's extension, in SQLite.

The changesets of a push are in the order of ``rev``, their revision number in the repository.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mercurial.node import nullhex, wdirhex

from .errors import Refused, Temporary
from .model import Conflict, PushNodes

#: As Mozilla's extension makes them.
_SCHEMA = (
    'CREATE TABLE IF NOT EXISTS changesets (pushid INTEGER, rev INTEGER, node TEXT)',
    'CREATE TABLE IF NOT EXISTS pushlog '
    '(id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT, date INTEGER)',
    'CREATE UNIQUE INDEX IF NOT EXISTS changeset_node ON changesets (node)',
    'CREATE UNIQUE INDEX IF NOT EXISTS changeset_rev ON changesets (rev)',
    'CREATE INDEX IF NOT EXISTS changeset_pushid ON changesets (pushid)',
    'CREATE INDEX IF NOT EXISTS pushlog_date ON pushlog (date)',
    'CREATE INDEX IF NOT EXISTS pushlog_user ON pushlog (user)',
)
#: The largest integer that JSON numbers represent exactly, and the end of the year 9999.
_MAX_ID, _MAX_DATE = 2**53, 253402300799
_BAD_PUSH = f"""
SELECT id FROM pushlog
WHERE typeof(id) != 'integer' OR id NOT BETWEEN 1 AND {_MAX_ID}
OR typeof(date) NOT IN ('integer', 'real') OR date NOT BETWEEN 0 AND {_MAX_DATE} LIMIT 1
"""
_BAD_NODE = f"""
SELECT pushid, node FROM changesets
WHERE node IS NULL OR length(node) != 40 OR node GLOB '*[^0-9a-fA-F]*'
OR node IN ('{nullhex.decode()}', '{wdirhex.decode()}') LIMIT 1
"""
_COUNT = 'SELECT count(*), max(id) FROM pushlog'
# The user is cast because SQLite allows values of any type in a column.
_PUSHES = """
SELECT id, CAST(user AS TEXT), date FROM pushlog WHERE id > ? AND id <= ? ORDER BY id LIMIT ?
"""
_NODES = 'SELECT node FROM changesets WHERE pushid = ? ORDER BY rev'
_OWNER = 'SELECT pushid FROM changesets WHERE node = ?'
# User names need not be UTF-8.
_ADD_PUSH = 'INSERT INTO pushlog (id, user, date) VALUES (?, CAST(? AS TEXT), ?)'
_ADD_NODE = 'INSERT INTO changesets (pushid, rev, node) VALUES (?, ?, ?)'

#: Maximum number of pushes in a batch, and of changesets after which no push is added to it.
PUSHES, CHANGESETS = 500, 5000
#: Seconds to wait for a lock on the file.
_TIMEOUT = 10


class File:
    """An open pushlog2.db; ``mode`` is one of SQLite's URIs.

    Its methods raise `Refused` if the file is not one, and `Temporary` if it is locked or cannot
    be written.
    """

    def __init__(self, path: str, mode: str) -> None:
        self._path = path
        with self._clear_errors():
            url = f'{Path(path).absolute().as_uri()}?mode={mode}'
            # Each statement is a transaction of its own: writers need not wait for all of them.
            self._connection = sqlite3.connect(
                url, uri=True, timeout=_TIMEOUT, isolation_level=None
            )
        self._connection.text_factory = bytes

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as exc:
            if any(sign in str(exc) for sign in ('locked', 'full', 'disk')):
                raise Temporary(f'{self._path}: {exc}') from exc
            raise Refused(f'{self._path} is not a pushlog2.db: {exc}') from exc
        except sqlite3.IntegrityError as exc:
            raise Refused(f'{self._path} has other changesets: {exc}') from exc
        except sqlite3.DatabaseError as exc:
            raise Refused(f'{self._path} is not a pushlog2.db: {exc}') from exc

    def _all(self, statement: str, *values: Any) -> list[Any]:
        with self._clear_errors():
            return self._connection.execute(statement, values).fetchall()

    def check(self) -> tuple[int, int]:
        """Return the number of pushes and the highest id. Raise `Refused` if a row is invalid."""
        for (push_id,) in self._all(_BAD_PUSH):
            raise Refused(f'{self._path}: push {push_id} has a bad id or date')
        for push_id, name in self._all(_BAD_NODE):
            shown = repr(name)[:80]
            raise Refused(f'{self._path}: push {push_id} names {shown}, which is not a changeset')
        [(count, last)] = self._all(_COUNT)
        return count, last or 0

    def pushes(self, upto: int) -> Iterator[list[PushNodes]]:
        """Yield all pushes with ids up to ``upto``, in order and in batches."""
        batch: list[PushNodes] = []
        size = seen = 0
        while page := self._all(_PUSHES, seen, upto, PUSHES):
            for seen, user, date in page:
                nodes = tuple(_node(name) for (name,) in self._all(_NODES, seen))
                batch.append(PushNodes(seen, user or b'', int(date), nodes))
                size += len(nodes)
                if len(batch) == PUSHES or size >= CHANGESETS:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch

    def make(self) -> None:
        """Create the tables that are missing."""
        for statement in _SCHEMA:
            self._all(statement)

    def add(
        self, pushes: Sequence[PushNodes], rev: Callable[[bytes], int | None]
    ) -> list[Conflict]:
        """Add the pushes that the file lacks, in one transaction; return those that conflict.

        ``rev`` returns a changeset's revision number, or None to leave the changeset out.
        """
        with self._clear_errors(), self._connection:
            self._connection.execute('BEGIN IMMEDIATE')
            return [c for c in (self._add(push, rev) for push in pushes) if c is not None]

    def _add(self, push: PushNodes, rev: Callable[[bytes], int | None]) -> Conflict | None:
        recorded = self._all(_PUSHES, push.push_id - 1, push.push_id, 1)
        for push_id, user, date in recorded:
            if ((user or b''), int(date)) != (push.user, push.date):
                return Conflict(push, recorded=PushNodes(push_id, user or b'', int(date), ()))
        owners = {node: row[0] for node in push.nodes for row in self._all(_OWNER, node.hex())}
        for node, owner in owners.items():
            # A tombstone may be in several pushes.
            if owner != push.push_id and node not in push.tombstoned:
                return Conflict(push, node=node, owner=owner)
        if not recorded:
            self._all(_ADD_PUSH, push.push_id, push.user, push.date)
        for node in dict.fromkeys(push.nodes):
            number = rev(node) if node not in owners else None
            if number is not None:
                self._all(_ADD_NODE, push.push_id, number, node.hex())
        return None


def _node(name: bytes) -> bytes:
    return bytes.fromhex(name.decode('ascii'))


def reading(path: str) -> contextlib.closing[File]:
    """Open the pushlog2.db at ``path`` read-only. Raise what the methods of `File` raise."""
    return contextlib.closing(File(path, 'ro'))


@contextlib.contextmanager
def writing(path: str) -> Iterator[File]:
    """Open the pushlog2.db at ``path`` for writing; create it if it does not exist."""
    with contextlib.closing(File(path, 'rwc')) as file:
        file.make()
        yield file
