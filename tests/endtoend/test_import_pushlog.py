"""Taking over an older pushlog."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from conftest import EITHER
from helpers.old_pushlog import write
from helpers.web import fetch_json
from helpers.world import HG, Server

from hgext_headless import pushlog2
from hgext_headless.catalog import schema
from hgext_headless.errors import Refused


def tables(server: Server) -> dict[str, list[Any]]:
    """All that the database holds."""
    url = re.search('^database = (.*)', (server.root / '.hg/hgrc').read_text(), re.M)
    embedded = f'sqlite:///{server.root}/.hg/headless/catalog.sqlite'
    engine = sqlalchemy.create_engine(url.group(1) if url else embedded)
    with engine.connect() as connection:
        found = {
            table.name: sorted(
                tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)
                for row in connection.execute(table.select())
            )
            for table in schema.metadata.sorted_tables
        }
    engine.dispose()
    return found


@pytest.mark.parametrize('backend', EITHER)
def test_import(world, make_server, backend):
    server = make_server(backend)
    url = server.url('http')
    public = server.log('all()', '{node}\n')
    alice = world.clone(url, 'alice')
    live = alice.commit('live')
    alice.hg_fast('push', '-q')
    alice.hg_fast('update', '-q', '.^')
    late = alice.commit('late', 'late', '-m', 'late')
    gone = ['ab' * 20, 'cd' * 20]
    older = [
        (1, b'alice', 1_500_000_001, ['ef' * 20]),  # recorded as another one
        (3, b'al\xffice', 1_500_000_003.7, public[:2]),
        (4, b'bob', 1_500_000_002, [gone[1], public[2], late]),
        (7, b'carol', 1_500_000_004, []),
        (8, b'carol', 1_500_000_004, [gone[0]]),
        (12, b'dave', 1_500_000_005, [live]),  # another push has brought it
    ]
    write(server.root / '.hg' / 'pushlog2.db', older)

    before = tables(server)
    dry = json.loads(
        server.hg_fast('admin::headless-import-pushlog', '--dry-run', '-T', 'json', code=1)
    )
    assert dry[-1]['recorded'] == 4 and dry[-1]['unknown'] == 3 and dry[-1]['dryrun']
    assert tables(server) == before

    out = server.hg_fast('admin::headless-import-pushlog', code=1)
    recorded = f'push 1 conflicts: recorded is anonymous .*{live[:12]}.*; the file says '
    assert re.search(recorded, out)
    assert f'push 12 conflicts: recorded is {live} came with push 1; the file says dave' in out
    assert 'recorded 4 pushes; 0 there already, 2 in conflict' in out
    assert '3 changesets not in this repository' in out

    shown = fetch_json(f'{url}json-pushes?startID=1&endID=3&full=1')
    assert list(shown) == ['3']
    assert shown['3']['date'] == 1_500_000_003
    first = shown['3']['changesets'][0]
    assert (first['node'], first['desc'], first['files']) == (public[0], 'public0', ['public0'])
    assert first['author'] == 'Test <test@example.com>' and first['branch'] == 'default'
    rows = tables(server)
    assert (1, 3, b'al\xffice', 1_500_000_003, 2, None, None) in rows['pushes']
    assert [row[1:4] for row in rows['tombstones']] == [
        (4, 0, bytes.fromhex(gone[1])),
        (4, 2, bytes.fromhex(late)),
        (8, 0, bytes.fromhex(gone[0])),
    ]
    assert [row[:3] for row in rows['push_changesets'] if row[1] == 4] == [(1, 4, 1)]
    assert [row[2:] for row in rows['repositories']] == [(12, 12, 0, 5, None)]

    again = json.loads(server.hg_fast('admin::headless-import-pushlog', '-T', 'json', code=1))
    assert [item['push'] for item in again if item['kind'] == 'conflict'] == [1, 12]
    assert (again[-1]['recorded'], again[-1]['there']) == (0, 4)
    assert tables(server) == rows

    # The next push has the next id, of whatever the file knew the name.
    assert 'stored 1 changeset as push 13' in alice.hg_fast('push', '-f', '-r', '.')


def test_hidden_and_secret_are_names(world, make_server):
    """A server waits until it can serve what is more than a name."""
    server = make_server('embedded')
    server.hg_fast('update', '-q', 'tip')
    draft = server.commit('draft')
    secret = server.commit('secret')
    server.hg_fast('phase', '--force', '--secret', '.')
    write(server.root / 'older.db', [(1, b'alice', 1, [draft, secret])])
    server.hg('admin::headless-import-pushlog', server.root / 'older.db')
    assert [row[3].hex() for row in tables(server)['tombstones']] == [secret]
    assert [row[2].hex() for row in tables(server)['changesets']] == [draft]


def test_bad_files(world, make_server):
    def complaint(path: Path) -> str:
        with pytest.raises(Refused) as raised, pushlog2.reading(str(path)) as file:
            file.check()
        return str(raised.value)

    folder = world.folder
    (folder / 'text').write_text('This is no database.' * 100)
    assert 'text is not a pushlog2.db: file is not a database' in complaint(folder / 'text')
    (folder / 'empty').touch()
    assert 'no such table' in complaint(folder / 'empty')
    for number, (push, words) in enumerate(
        {
            (0, b'alice', 1, ()): 'push 0 has a bad id or date',
            (-1, b'alice', 1, ()): 'push -1 has a bad id or date',
            (1, b'alice', 'yesterday', ()): 'push 1 has a bad id or date',
            (1, b'alice', 1, ('ab' * 19,)): 'which is not a changeset',
            (1, b'alice', 1, ('xy' * 20,)): 'which is not a changeset',
            (1, b'alice', 1, ('0' * 40,)): 'which is not a changeset',
        }.items()
    ):
        assert words in complaint(write(folder / f'{number}.db', [push]))

    server = make_server('embedded')
    shutil.rmtree(server.root / '.hg' / 'headless')
    out = server.hg_fast('admin::headless-import-pushlog', folder / 'none', code=255)
    assert out == f'abort: headless: refused: there is no file {folder}/none\n'
    out = server.hg_fast('admin::headless-import-pushlog', folder / '4.db', code=255)
    assert len(out.splitlines()) == 1
    assert not (server.root / '.hg' / 'headless').exists()


@pytest.mark.slow
def test_killed(world, make_server):
    server = make_server('embedded')
    count = 8_000
    public = server.log('all()', '{node}\n')
    older = [
        (i, b'user%d' % (i % 10), i, [f'{i:020x}{n:020x}' for n in range(3)])
        for i in range(1, count + 1)
    ]
    older[-1][3].extend(public)
    path = write(world.folder / 'pushlog2.db', older)
    running = subprocess.Popen(
        [HG, 'admin::headless-import-pushlog', path], cwd=server.root, env=world.env
    )
    catalog = server.root / '.hg' / 'headless' / 'catalog.sqlite'
    recorded = 0
    while not recorded:
        assert running.poll() is None
        time.sleep(0.02)
        with contextlib.suppress(sqlite3.Error), contextlib.closing(
            sqlite3.connect(f'file:{catalog}?mode=ro', uri=True)
        ) as database:
            recorded = database.execute('SELECT count(*) FROM pushes').fetchone()[0]
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    with contextlib.closing(sqlite3.connect(catalog)) as database:
        recorded = database.execute('SELECT count(*) FROM pushes').fetchone()[0]
        assert 0 < recorded < count and recorded % pushlog2.PUSHES == 0
        counter = database.execute(
            'SELECT last_push_id, imported_push_id, importing_push_id FROM repositories'
        )
        assert counter.fetchone() == (count, 0, count)
    # Who polls now is shown no id above what is recorded.
    assert fetch_json(f'{server.start()}json-pushes?version=2')['lastpushid'] == recorded
    server.stop()
    out = server.hg_fast('admin::headless-import-pushlog', path)
    assert f'recorded {count - recorded} pushes; {recorded} there already' in out
    rows = tables(server)
    assert [row[1:4] for row in rows['pushes']] == [(i, user, date) for i, user, date, _ in older]
    found = sorted((row[1], row[2], row[3].hex()) for row in rows['tombstones'])
    assert found == [(i, n, nodes[n]) for i, _, _, nodes in older for n in range(3)]
    assert [row[1:3] for row in rows['push_changesets']] == [(count, n) for n in (3, 4, 5)]


def test_pages_with_gaps(world, make_server):
    server = make_server('embedded')
    older = [(2 * i, b'alice', i, [f'{i:040x}']) for i in range(1, 26)]
    write(server.root / 'older.db', older)
    server.hg('admin::headless-import-pushlog', server.root / 'older.db')
    base = f'{server.start()}json-pushes'
    pages = [list(map(int, fetch_json(f'{base}/{page}'))) for page in (1, 2, 3, 4)]
    assert pages == [list(range(32, 51, 2)), list(range(12, 31, 2)), list(range(2, 11, 2)), []]
