"""A pushlog2.db, as hg.mozilla.org's extension writes it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

#: As hg.mozilla.org's extension makes them.
SCHEMA = """
CREATE TABLE changesets (pushid INTEGER, rev INTEGER, node text);
CREATE TABLE pushlog (id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT, date INTEGER);
CREATE UNIQUE INDEX changeset_node ON changesets(node);
CREATE UNIQUE INDEX changeset_rev ON changesets(rev);
CREATE INDEX changeset_pushid ON changesets(pushid);
CREATE INDEX pushlog_date ON pushlog(date);
CREATE INDEX pushlog_user ON pushlog(user);
"""

#: Id, user, date, changesets; a bad date may be anything.
Pushes = Iterable[tuple[int, bytes, object, Sequence[str]]]


def write(path: Path, pushes: Pushes) -> Path:
    """A pushlog2.db with pushes."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executescript(SCHEMA)
        # Not in the order in which they are to be read.
        rev = 0
        for push_id, user, date, nodes in sorted(pushes, key=lambda push: -push[0]):
            database.execute(
                'INSERT INTO pushlog VALUES (?, CAST(? AS TEXT), ?)', (push_id, user, date)
            )
            rows = [(push_id, rev + i, node) for i, node in enumerate(nodes)]
            database.executemany('INSERT INTO changesets VALUES (?, ?, ?)', reversed(rows))
            rev += len(nodes)
    return path
