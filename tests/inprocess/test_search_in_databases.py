"""Search by words, asked of the catalog in this process."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import sqlite3

import pytest
import sqlalchemy
from conftest import fresh

from hgext_headless.catalog import drop, engine, epochs, migrate, record, search
from hgext_headless.catalog.catalog import Catalog
from hgext_headless.errors import Misconfigured
from hgext_headless.model import Changeset, Push, Selection

_numbers = itertools.count()


@pytest.fixture
def database(world, backend, request, tmp_path):
    url = f'sqlite:///{tmp_path}/catalog.sqlite'
    if backend == 'services':
        services = request.getfixturevalue('services')
        url = re.search('^database = (.*)', fresh(world, services), re.M).group(1)
    opened = engine.open_database(url)
    migrate.upgrade(opened)
    for name in ('one', 'two'):
        Catalog(opened, name).write(epochs.make)
    yield opened
    opened._engine.dispose()


def changeset(description: bytes, author: bytes = b'Test <test@example.com>') -> Changeset:
    node = hashlib.sha1(b'%d' % next(_numbers)).digest()
    return Changeset(
        node, bytes(20), bytes(20), b'default', author, 0, 0, description, (b'a',), ()
    )


def push(catalog: Catalog, *brought: Changeset, user: str = 'alice') -> int:
    recorded = catalog.write(record.record, Push(user, brought), {})
    assert recorded.push_id is not None
    return recorded.push_id


def found(catalog: Catalog, text: bytes = b'', author: bytes = b'', limit: int = 10, **more):
    selection = Selection(
        upto=10**9, words=tuple(search.split(text)), author=tuple(search.split(author)), **more
    )
    return [e.push_id for e in catalog.read(search.matching, selection, limit)]


@pytest.mark.slow
def test_like_looking_at_all(database, monkeypatch):
    """Whatever is taken from where, and beside another repository with the same words."""
    chance = random.Random(7)
    vocabulary = [f'word{i}' for i in range(12)]
    authors = [b'Al <al@x>', b'Bo <bo@word1>', b'Cy <cy@y>']

    def some() -> str:
        # The first are in nearly all, the last in very few.
        return ' '.join(w for i, w in enumerate(vocabulary) if chance.random() < 0.8 / (i + 1))

    catalogs = [Catalog(database, 'one'), Catalog(database, 'two')]
    pushed: dict[int, list[tuple[str, bytes]]] = {}
    users: dict[int, str] = {}
    for _ in range(120):
        texts = [(some(), chance.choice(authors)) for _ in range(chance.randint(1, 3))]
        brought = [changeset(text.encode(), author) for text, author in texts]
        pusher = chance.choice(['alice', 'bob'])
        push_id = push(catalogs[0], *brought, user=pusher)
        pushed[push_id], users[push_id] = texts, pusher
        push(catalogs[1], *(changeset(some().encode()) for _ in range(2)))

    def looked_at(asked: list[str], names: list[str], user: str | None) -> list[int]:
        return [
            push_id
            for push_id, texts in sorted(pushed.items(), reverse=True)
            if (user is None or users[push_id] == user)
            and any(
                set(asked) <= {*search.split(text.encode()), *search.split(author)}
                and set(names) <= set(search.split(author))
                for text, author in texts
            )
        ]

    for near, rare in ((1, 1), (1, 10_000), (20, 30), (10_000, 0)):
        monkeypatch.setattr(search, '_NEAR', near)
        monkeypatch.setattr(search, '_RARE', rare)
        for _ in range(60):
            asked = chance.sample(vocabulary, chance.randint(0, 3))
            names = chance.sample(['al', 'bo', 'word1', 'x'], chance.randint(not asked, 2))
            user = chance.choice([None, None, 'bob'])
            limit = chance.choice([1, 5, 500])
            got = found(
                catalogs[0],
                ' '.join(asked).encode(),
                ' '.join(names).encode(),
                limit=limit,
                users=None if user is None else (user.encode(),),
            )
            assert got == looked_at(asked, names, user)[:limit], (near, rare, asked, names, user)


def test_common_words_of_old(database, monkeypatch):
    """Of what very many have, and no recent push: no more than the newest pushes are asked."""
    monkeypatch.setattr(search, '_NEAR', 2)
    monkeypatch.setattr(search, '_RARE', 3)
    monkeypatch.setattr(search, '_FAR', 8)
    catalog = Catalog(database, 'one')
    for number in range(20):
        push(catalog, changeset(b'old' if number < 14 else b'new'))
    with database.writing() as connection:
        connection.execute(sqlalchemy.text('UPDATE pushes SET date = push_id - 1'))
    assert found(catalog, b'old') == [14, 13]
    # An interval is looked through by itself.
    assert found(catalog, b'old', before=6) == [6, 5, 4, 3, 2, 1]
    assert found(catalog, b'old', push_ids=(3, 4)) == [4, 3]
    assert found(catalog, b'new', limit=3) == [20, 19, 18]


def test_texts_that_are_none(database):
    catalog = Catalog(database, 'one')
    one = push(catalog, changeset(b'caf\xe9 \xff\xfe \0 nul', b'\xff\0'))
    two = push(catalog, changeset('Zoë 日本 x'.encode() * 30_000, 'Zoë\0'.encode() * 9000))
    three = push(catalog, changeset(b'', b''), changeset(b'a\\b %s :x 1@y'))
    assert found(catalog, b'caf') == found(catalog, b'nul') == [one]
    assert found(catalog, 'ZOË'.encode()) == found(catalog, author='zoë'.encode()) == [two]
    assert found(catalog, b'b a s') == found(catalog, b'"1@y"') == [three]
    assert found(catalog, b'zo') == []


def test_words_go_with_the_changeset(database):
    catalog = Catalog(database, 'one')
    gone, stays = changeset(b'some words'), changeset(b'other words')
    push(catalog, gone, stays)
    catalog.write(drop.drop, [], [gone.node], [], {})
    assert found(catalog, b'some') == []
    assert found(catalog, b'other') == [1]
    with database.reading() as connection:
        left = 'SELECT count(*) FROM changeset_words'
        assert connection.exec_driver_sql(left).scalar() == 1
    # And come again with it.
    assert push(catalog, gone) == 2
    assert found(catalog, b'some words') == [2]


def test_one_more_statement(database):
    """Of a push: its words are one statement, whatever it brings."""
    catalog = Catalog(database, 'one')
    push(catalog, changeset(b'first'))
    asked: list[str] = []
    remember = lambda conn, cursor, statement, *rest: asked.append(statement)  # noqa: E731
    sqlalchemy.event.listen(database._engine, 'before_cursor_execute', remember)
    push(catalog, *(changeset(b'some words') for _ in range(50)))
    assert [s.split('(')[0].strip() for s in asked if 'changeset_words' in s] == [
        'INSERT INTO changeset_words'
        if database._engine.dialect.name == 'postgresql'
        else 'INSERT OR REPLACE INTO changeset_words'
    ]


def test_sqlite_without_fts5(tmp_path):
    """As far as can be shown with one that has it: where no virtual table can be made."""

    def connect():
        connection = sqlite3.connect(tmp_path / 'catalog.sqlite', check_same_thread=False)
        denied, allowed = sqlite3.SQLITE_DENY, sqlite3.SQLITE_OK
        connection.set_authorizer(
            lambda action, *rest: denied if action == sqlite3.SQLITE_CREATE_VTABLE else allowed
        )
        return connection

    made = engine.Database(
        sqlalchemy.create_engine('sqlite://', creator=connect), engine.DEFAULT_OPTIONS
    )
    with pytest.raises(Misconfigured, match='has no FTS5'):
        migrate.upgrade(made)
    made._engine.dispose()


def test_other_meanings(database):
    """Users, hashes and back-outs, of one repository only."""
    one, two = Catalog(database, 'one'), Catalog(database, 'two')
    broken, other = changeset(b'broken'), changeset(b'other')
    number = push(one, broken, user='Zoë.Lovelace@example.com')
    short = broken.node.hex()[:12]
    backout = changeset(f'Backed out changeset {short} for bustage'.encode())
    push(one, backout, other)
    push(two, changeset(f'Backed out {short}'.encode()), user='zoe')
    named = one.read(search.naming, [short, *(f'nothing{i}' for i in range(1000))])
    assert named == [(backout.node, backout.description)]
    # In the order of pushes, whatever the order of their nodes.
    again = [changeset(f'Backed out {short}, {i}'.encode()) for i in range(5)]
    push(one, *again)
    assert one.read(search.naming, [short])[1:] == [(c.node, c.description) for c in again]
    assert one.read(search.users, 'OE.LOVE', 10) == ['Zoë.Lovelace@example.com'.encode()]
    assert two.read(search.users, 'zo', 10) == [b'zoe']
    assert two.read(search.users, '%', 10) == []
    assert one.read(search.pushes_with_prefix, short[:4], 10) == [number]
    assert two.read(search.pushes_with_prefix, short[:4], 10) == []
