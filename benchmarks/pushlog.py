"""The pushlog at 1,000 and at 1,000,000 pushes: times of its queries, their ratio,
and a look at each query plan for a scan of a table.

    python benchmarks/pushlog.py sqlite:////tmp/pushlog.sqlite
    python benchmarks/pushlog.py postgresql+psycopg2://user@host/database

The databases must be empty. Three changesets a push; 1,000 users. Descriptions have 30 words
of a vocabulary in which some are in nearly all of them. Words are written by what
"hg admin::headless-init" does after the upgrade, and its time is printed too.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy
from mercurial import changelog, encoding as hgencoding
from sqlalchemy import event

from hgext_headless.catalog import engine, migrate, names, pushlog, schema, search, statements
from hgext_headless.catalog.catalog import Catalog
from hgext_headless.model import Changeset, Selection

CHANGESETS = 3
USERS = 1000
START = 1_500_000_000
ROUNDS = 40
TABLES = ('pushes', 'changesets', 'push_branches', 'bundles', 'changeset_words')


def node(name: str, push_id: int, position: int) -> bytes:
    return hashlib.sha1(f'{name} {push_id} {position}'.encode()).digest()


def user(push_id: int, pushes: int) -> bytes:
    # Each of the users that are asked for has ten pushes, whatever the size.
    return b'rare%d' % (push_id % (pushes // 10)) if pushes >= 10 else b'rare'


def description(push_id: int, pushes: int, chance: random.Random) -> bytes:
    # By rank a word is the rarer, as in a language; the first stands in most descriptions.
    text = ' '.join(f'word{int(50_000 ** chance.random())}' for _ in range(30))
    age = 'legacy' if push_id < pushes // 3 else 'recent'
    # Each word like that of `user` is in ten pushes, and no push is even and odd.
    rare, half = push_id % max(1, pushes // 10), ('even', 'odd')[push_id % 2]
    return f'Bug {push_id} - a change, r=somebody\n\nrare{rare} {age} {half} {text}'.encode()


def generate(database: engine.Database, name: str, pushes: int) -> None:
    """Fill the tables of the pushlog; at ten thousand pushes a statement."""
    extras = changelog.encodeextra({b'branch': b'default'})
    chance = random.Random(1)
    with database.writing() as connection:
        connection.execute(
            schema.repositories.insert(), [{'name': name, 'last_push_id': pushes}]
        )
        repository_id = connection.scalar(
            sqlalchemy.select(schema.repositories.c.id).where(schema.repositories.c.name == name)
        )
        first = 1 + (connection.scalar(sqlalchemy.func.max(schema.changesets.c.id)) or 0)
    step = 10_000
    for start in range(1, pushes + 1, step):
        ids = range(start, min(pushes + 1, start + step))
        rows: dict[sqlalchemy.Table, list[dict[str, Any]]] = {
            schema.pushes: [
                {'push_id': i, 'user': user(i, pushes), 'date': START + 60 * i} for i in ids
            ],
            schema.changesets: [
                {
                    'id': first + (i - 1) * CHANGESETS + p,
                    'node': node(name, i, p),
                    'p1': node(name, i, p - 1) if p else bytes(20),
                    'p2': bytes(20),
                    'branch': b'default',
                    'author': b'Author%d <author%d@example.com>' % (i % USERS, i % USERS),
                    'date': START + 60 * i,
                    'timezone': 0,
                    'description': description(i, pushes, chance),
                    'files': b'dir/a.py\0dir/b.py\0dir/c.py',
                    'extras': extras,
                }
                for i in ids
                for p in range(CHANGESETS)
            ],
            schema.push_changesets: [
                {'push_id': i, 'position': p, 'changeset_id': first + (i - 1) * CHANGESETS + p}
                for i in ids
                for p in range(CHANGESETS)
            ],
            schema.bundles: [
                {
                    'id': first + i,
                    'key': f'{name}/{i}',
                    'size': 1000,
                    'sha512': '0' * 128,
                    'head': node(name, i, CHANGESETS - 1),
                    'bases': b'',
                    'created': START + 60 * i,
                    'state': schema.LIVE,
                }
                for i in ids
            ],
            schema.push_branches: [{'push_id': i, 'branch': b'default'} for i in ids],
        }
        held = [
            {
                'bundle_id': first + i,
                'changeset_id': first + (i - 1) * CHANGESETS + p,
                'position': p,
                'is_head': p == CHANGESETS - 1,
            }
            for i in ids
            for p in range(CHANGESETS)
        ]
        with database.writing() as connection:
            for table, values in rows.items():
                connection.execute(
                    table.insert(), [{'repository_id': repository_id, **v} for v in values]
                )
            connection.execute(schema.bundle_changesets.insert(), held)
            search.record(
                statements.Session(connection, name),
                [(row['id'], _changeset(row)) for row in rows[schema.changesets]],
            )
        print(f'\r{name}: {ids[-1]} pushes', end='', file=sys.stderr)
    print(file=sys.stderr)


def _changeset(row: dict[str, Any]) -> Changeset:
    names = ('node', 'p1', 'p2', 'branch', 'author', 'date', 'timezone', 'description')
    return Changeset(**{name: row[name] for name in names}, files=(), extras=())


def questions(catalog: Catalog, name: str, pushes: int) -> Iterator[tuple[str, Any]]:
    """Each a function of the round, as a request of the pushlog asks the catalog."""

    read = catalog.read

    def entries(selection: Selection, newest: bool = False, limit: int = 10_000, **kwargs: Any):
        found = read(pushlog.entries, selection, newest=newest, limit=limit)
        show = kwargs.pop('show', pushlog.nodes_of)
        return read(show, [entry.push_id for entry in found], **kwargs)

    def of(i: int) -> int:
        return 1 + (i * 7919) % (pushes - 100)

    def last_ten(i: int, **kwargs: Any):
        read(pushlog.last_push_id)
        return entries(Selection(upto=pushes), newest=True, limit=10, **kwargs)

    def changeset(i: int):
        asked = node(name, of(i), 1)
        push_id = read(pushlog.brought, [asked])[asked].entry.push_id
        return entries(Selection(upto=pushes, push_ids=(push_id,)))

    def date(i: int) -> float:
        return START + 60 * of(i)

    yield 'last ten', last_ten
    yield 'last ten, full', lambda i: last_ten(i, show=pushlog.changesets_of)
    yield 'last ten, tipsonly', lambda i: last_ten(i, tips_only=True)
    yield 'a page', lambda i: entries(Selection(upto=of(i) + 50), newest=True, limit=10)
    yield 'startID', lambda i: entries(Selection(after=pushes - 3, upto=pushes))
    yield (
        'startID, endID',
        lambda i: entries(Selection(after=of(i), upto=of(i) + 20)),
    )
    yield (
        'startID, endID, full',
        lambda i: entries(Selection(after=of(i), upto=of(i) + 20), show=pushlog.changesets_of),
    )
    yield 'changeset', changeset
    yield 'user', lambda i: entries(Selection(upto=pushes, users=(user(of(i), pushes),)))
    yield (
        'startdate, enddate',
        lambda i: entries(Selection(upto=pushes, since=date(i), before=date(i) + 1200)),
    )
    yield (
        'branch, last ten',
        lambda i: entries(Selection(upto=pushes, branch=b'default'), newest=True, limit=10),
    )
    yield 'keywords of a page', lambda i: read(
        pushlog.brought, [node(name, of(i) + n // 3, n % 3) for n in range(64)]
    )
    yield (
        'page of a draft',
        lambda i: read(names.drafts_named, [node(name, of(i), 1).hex().encode()[:12]]),
    )

    def searched(text: str, author: str = '', page: int = 1, **kwargs: Any):
        asked, by = (tuple(search.split(t.encode())) for t in (text, author))
        selection = Selection(upto=pushes, words=asked, author=by, **kwargs)
        found = read(search.matching, selection, 10 * page)[-10:]
        return read(pushlog.nodes_of, [entry.push_id for entry in found])

    yield 'search: one push', lambda i: searched(f'bug {of(i)} r=somebody')
    yield 'search: ten pushes', lambda i: searched(user(of(i), pushes).decode())
    yield 'search: none', lambda i: searched(f'nothing{i}')
    yield 'search: all', lambda i: searched('change somebody')
    yield 'search: all, page 50', lambda i: searched('change', page=50)
    yield 'search: all and ten', lambda i: searched(f'change {user(of(i), pushes).decode()}')
    yield (
        'search: all, of a user',
        lambda i: searched('change', users=(user(of(i), pushes),)),
    )
    yield (
        'search: all, between dates',
        lambda i: searched('change', since=date(i), before=date(i) + 1200),
    )
    yield (
        'back-outs of 200 changesets',
        lambda i: read(search.naming, [f'{of(i) + n:012x}' for n in range(200)]),
    )
    yield 'horizon', lambda i: read(pushlog.needs, range(pushes - 10, pushes + 1))


def worst(catalog: Catalog, pushes: int) -> Iterator[tuple[str, Any]]:
    """What takes a time that grows with how many changesets have the words."""

    def searched(text: str, author: str = '', page: int = 1):
        asked, by = (tuple(search.split(t.encode())) for t in (text, author))
        selection = Selection(upto=pushes, words=asked, author=by)
        return catalog.read(search.matching, selection, 10 * page)[-10:]

    yield 'search: users', lambda i: catalog.read(search.users, f'user{i}', 20)
    yield 'search: a third, the oldest', lambda i: searched('legacy')
    yield 'search: halves, never both', lambda i: searched('even odd')
    yield 'search: 1 of 1,000, an author', lambda i: searched('change', f'author{i}')
    yield 'search: 1 of 1,000, page 100', lambda i: searched('', f'author{i}', page=100)
    for rank in (1, 10, 100, 1000, 10_000):
        yield f'search: word {rank} of a language', lambda i, r=rank: searched(f'word{r + i % 3}')
    yield 'search: three of a language', lambda i: searched(f'word7 word{30 + i} word{90 + i}')


def scans(database: engine.Database, catalog: Catalog, ask: Any) -> list[str]:
    """Lines of the plans of a question's statements that scan a table."""
    asked: list[tuple[str, Any]] = []
    with database.reading() as connection:
        sql_engine = connection.engine
        postgres = connection.dialect.name == 'postgresql'

    @event.listens_for(sql_engine, 'before_cursor_execute')
    def remember(conn: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.append((statement, parameters))

    ask(5)
    event.remove(sql_engine, 'before_cursor_execute', remember)
    found = []
    with database.reading() as connection:
        for statement, parameters in asked:
            if statement.startswith('SET LOCAL enable_'):
                connection.exec_driver_sql(statement)
            if not statement.lstrip().upper().startswith('SELECT') or 'alembic' in statement:
                continue
            explain = 'EXPLAIN ' if postgres else 'EXPLAIN QUERY PLAN '
            for row in connection.exec_driver_sql(explain + statement, parameters):
                line = str(row[0] if postgres else row[-1])
                big = any(t in line for t in TABLES)
                # A full-text table is always "scanned", by its index.
                is_scan = line.startswith('SCAN ') and 'VIRTUAL TABLE' not in line
                if big and ('Seq Scan' in line or is_scan):
                    found.append(line.strip())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('database')
    parser.add_argument('--pushes', type=int, default=1_000_000)
    arguments = parser.parse_args()
    hgencoding.encoding = b'utf-8'
    database = engine.open_database(arguments.database)
    migrate.upgrade(database)
    sizes = {'small': 1000, 'large': arguments.pushes}
    for name, pushes in sizes.items():
        if not Catalog(database, name).read(pushlog.last_push_id):
            generate(database, name, pushes)
    with database.writing() as connection:
        connection.exec_driver_sql('ANALYZE')
    bad = False
    print(f'{"query":28}{"1,000":>10}{arguments.pushes:>12,}{"ratio":>8}   (ms, median)')
    asked = {name: dict(questions(Catalog(database, name), name, n)) for name, n in sizes.items()}
    for question in asked['small']:
        taken: dict[str, list[float]] = {name: [] for name in sizes}
        for number in range(ROUNDS):
            for name in sizes:  # in turns: whatever disturbs one disturbs the other
                start = time.perf_counter()
                asked[name][question](number)
                taken[name].append(time.perf_counter() - start)
        small, large = (statistics.median(taken[name]) * 1000 for name in sizes)
        print(f'{question:28}{small:10.2f}{large:12.2f}{large / small:8.2f}')
        for line in scans(database, Catalog(database, 'large'), asked['large'][question]):
            print(f'    scans: {line}')
            bad = True
        bad = bad or large > 1.5 * small
    for question, ask in worst(Catalog(database, 'large'), arguments.pushes):
        times = []
        for number in range(ROUNDS // 4):
            start = time.perf_counter()
            ask(number)
            times.append(time.perf_counter() - start)
        median, most = statistics.median(times) * 1000, max(times) * 1000
        print(f'{question:34}{median:12.2f}   (at most {most:.0f})')
        bad = bad or most > 2000
    return bad


if __name__ == '__main__':
    sys.exit(main())
