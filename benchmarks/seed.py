"""Fills the database of a repository with drafts that look stored.

    python benchmarks/seed.py URL REPOSITORY BASE [--drafts 1000000]

URL is SQLAlchemy's, of a database that has the schema and knows no push of REPOSITORY yet;
BASE is the full hash of a public changeset. Two drafts a push, one bundle for both, the
pushes spread over the last year. The objects do not exist: nothing that the comparison does
looks at them, admin::headless-verify would.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg2
import sqlalchemy
from mercurial import changelog

from hgext_headless.catalog import schema

EACH = 2
YEAR = 365 * 86400
_BATCH = 50_000

Row = Sequence[Any]


def node(number: int) -> bytes:
    return hashlib.sha1(b'draft %d' % number).digest()


def _copy_field(value: Any) -> str:
    if isinstance(value, bytes):
        return '\\\\x' + value.hex()
    return 't' if value is True else 'f' if value is False else str(value)


def insert(connection: Any, table: sqlalchemy.Table, columns: str, rows: Iterable[Row]) -> None:
    """Insert in bulk: COPY on Postgres."""
    cursor = connection.cursor()
    if isinstance(connection, sqlite3.Connection):
        marks = ', '.join('?' * (columns.count(',') + 1))
        cursor.executemany(f'INSERT INTO {table.name} ({columns}) VALUES ({marks})', rows)
    else:
        data = ''.join('\t'.join(map(_copy_field, row)) + '\n' for row in rows)
        cursor.copy_expert(f'COPY {table.name} ({columns}) FROM STDIN', io.StringIO(data))


def seed(url: str, repository: str, base: bytes, drafts: int) -> None:
    """Store ``drafts`` drafts; nothing for 0."""
    parsed = sqlalchemy.make_url(url)
    if parsed.get_backend_name() == 'sqlite':
        connection: Any = sqlite3.connect(str(parsed.database))
        connection.execute('PRAGMA synchronous=OFF')
        connection.execute('PRAGMA cache_size=-500000')
    else:
        connection = psycopg2.connect(parsed.set(drivername='postgresql').render_as_string(False))
    with closing(connection):
        _seed(connection, repository, base, drafts // EACH)


def _seed(connection: Any, repository: str, base: bytes, pushes: int) -> None:
    cursor = connection.cursor()
    cursor.execute(
        # It may be there: "headless-init" begins the log of public history.
        f"INSERT INTO repositories (name, last_push_id) VALUES ('{repository}', {pushes}) "
        f'ON CONFLICT (name) DO UPDATE SET last_push_id = {pushes}'
        ' RETURNING id'
    )
    repository_id = cursor.fetchone()[0]
    highest = {}
    for table in (schema.changesets, schema.bundles):
        cursor.execute(f'SELECT coalesce(max(id), 0) FROM {table.name}')
        highest[table] = cursor.fetchone()[0]
    made = Rows(repository_id, repository, base, pushes, *highest.values())
    for start in range(1, pushes + 1, _BATCH):
        for table, columns, rows in made.tables(range(start, min(pushes + 1, start + _BATCH))):
            insert(connection, table, columns, rows)
        connection.commit()
    if not isinstance(connection, sqlite3.Connection):
        for table in highest:
            sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
            cursor.execute(f'SELECT setval({sequence}, max(id)) FROM {table.name}')
    cursor.execute('ANALYZE')
    connection.commit()


class Rows:
    """The rows of pushes; ids of changesets and bundles go on from those in use."""

    def __init__(
        self,
        repository_id: int,
        repository: str,
        base: bytes,
        pushes: int,
        last_changeset: int,
        last_bundle: int,
    ) -> None:
        self._repository_id = repository_id
        self._repository = repository
        self._base = base
        self._pushes = pushes
        self._last_changeset = last_changeset
        self._last_bundle = last_bundle
        self._now = int(time.time())
        self._extras = changelog.encodeextra({b'branch': b'default'})

    def _date(self, push: int) -> int:
        return self._now - YEAR * (self._pushes - push) // self._pushes

    def _key(self, push: int) -> str:
        digest = hashlib.sha256(b'%d' % push).hexdigest()
        return f'{self._repository}/{digest[:2]}/{digest}.hg'

    def _changeset(self, push: int, number: int, place: int) -> Row:
        return (
            self._last_changeset + number,
            self._repository_id,
            node(number),
            node(number - 1) if place else self._base,
            bytes(20),
            b'default',
            b'User %d <user%d@example.com>' % (push % 1000, push % 1000),
            self._date(push),
            0,
            b'Bug %d - a change of something, r=somebody' % push,
            b'dir/a.py\0dir/b.py\0dir/c.py',
            self._extras,
        )

    def _bundle(self, push: int) -> Row:
        return (
            self._last_bundle + push,
            self._repository_id,
            self._key(push),
            1000,
            '0' * 128,
            node(push * EACH),
            self._base,
            self._date(push),
            schema.LIVE,
        )

    def tables(self, ids: range) -> Iterator[tuple[sqlalchemy.Table, str, Iterable[Row]]]:
        """Tables, columns and rows of the pushes ``ids``, in an order that can be inserted."""
        mine, changeset, bundle = self._repository_id, self._last_changeset, self._last_bundle
        # A push, the place of a draft in it, the number of that draft.
        drafts = [(i, p, (i - 1) * EACH + p + 1) for i in ids for p in range(EACH)]
        yield (
            schema.pushes,
            'repository_id, push_id, "user", date',
            ((mine, i, b'user%d' % (i % 1000), self._date(i)) for i in ids),
        )
        yield (
            schema.changesets,
            'id, repository_id, node, p1, p2, branch, author, date, timezone, description,'
            ' files, extras',
            (self._changeset(i, n, p) for i, p, n in drafts),
        )
        yield (
            schema.push_changesets,
            'repository_id, push_id, position, changeset_id',
            ((mine, i, p, changeset + n) for i, p, n in drafts),
        )
        yield (
            schema.push_branches,
            'repository_id, branch, push_id',
            ((mine, b'default', i) for i in ids),
        )
        yield (
            schema.bundles,
            'id, repository_id, "key", size, sha512, head, bases, created, state',
            map(self._bundle, ids),
        )
        yield (
            schema.bundle_changesets,
            'bundle_id, changeset_id, position, is_head',
            ((bundle + i, changeset + n, p, p == EACH - 1) for i, p, n in drafts),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('url')
    parser.add_argument('repository')
    parser.add_argument('base')
    parser.add_argument('--drafts', type=int, default=1_000_000)
    args = parser.parse_args()
    started = time.monotonic()
    seed(args.url, args.repository, bytes.fromhex(args.base), args.drafts)
    print(f'{args.drafts} drafts in {time.monotonic() - started:.0f} s')


if __name__ == '__main__':
    main()
