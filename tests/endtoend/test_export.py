"""The way out: to an ordinary repository."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from helpers.old_pushlog import write
from helpers.web import fetch_json
from helpers.world import HG, Clone, Server, World


def pushlog(path: Path) -> dict[int, tuple[bytes, int, list[str]]]:
    """What a pushlog2.db says, read as its extension reads it."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        found: dict[int, tuple[bytes, int, list[str]]] = {
            push_id: (user, date, [])
            for push_id, user, date in database.execute('SELECT id, user, date FROM pushlog')
        }
        for push_id, node in database.execute('SELECT pushid, node FROM changesets ORDER BY rev'):
            found[push_id][2].append(node.decode())
    return found


def pushed(world: World, url: str, count: int) -> Clone:
    """Pushes: every second one on the one before, the third one public."""
    alice = world.clone(url, 'alice')

    def commit(name: str) -> None:
        (alice.root / name).write_text(name)
        alice.hg_fast('commit', '-q', '-A', '-m', name)

    for number in range(1, count + 1):
        if number % 2 and number > 1:
            alice.hg_fast('update', '-q', '-C', 'last(public())')
        if number < 3:
            commit(f'a{number}')
        commit(f'b{number}')
        if number == 3:
            alice.hg_fast('phase', '--public', '.')
        if number == 4:
            alice.hg_fast('bookmark', 'marked')
        marks = ('-B', 'marked') if number == 4 else ()
        alice.hg_fast('push', '-q', '-f', '-r', '.', *marks)
    return alice


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    world = World(tmp_path_factory.mktemp('export'))
    server = Server(world)
    return server, pushed(world, server.url('path'), 5)


@pytest.fixture
def alice(original) -> Clone:
    """Whose drafts the server has. Not to be changed."""
    return original[1]


@pytest.fixture
def server(world: World, original) -> Server:
    return Server(world, copied=original[0].root)


def exported(server: Clone, *args: str | Path, code: int = 0) -> dict[str, int]:
    items = json.loads(server.hg_fast('admin::headless-export', '-T', 'json', *args, code=code))
    return items[-1]


def shown_without_tip(url: str) -> dict[str, dict]:
    """What the pushlog says of all pushes but number 9; "tip" is where drafts are too."""
    pushes = {
        **fetch_json(f'{url}json-pushes?startID=0&endID=4&full=1'),
        **fetch_json(f'{url}json-pushes?startID=9&endID=10&full=1'),
    }
    for push in pushes.values():
        for changeset in push['changesets']:
            assert changeset.pop('tags') in ([], ['tip'])
    assert sorted(map(int, pushes)) == [1, 2, 3, 4, 10]
    return pushes


@pytest.mark.slow
def test_full_circle(world, make_server):
    server = make_server('services')
    base = server.url('http')
    alice = pushed(world, base, 4)
    # What nobody has any more, or comes again.
    more = alice.commit('more')
    write(world.folder / 'older.db', [(9, b'old\xff', 1_400_000_000, ['ab' * 20, more])])
    server.hg_fast('admin::headless-import-pushlog', world.folder / 'older.db')
    ordinary = world.init('ordinary')
    (ordinary.root / '.hg' / 'hgrc').write_text('[hooks]\nincoming = false\n')

    assert exported(server, ordinary.root) == {
        'kind': 'total', 'bundles': 3, 'there': 0, 'failed': 0, 'pushes': 5, 'conflicts': 0
    }  # fmt: skip
    ordinary.verified()
    assert ordinary.log('sort(all(), node)') == alice.log(f'sort(all() - {more}, node)')
    assert ordinary.facts('draft()') == alice.facts(f'draft() - {more}')
    assert ordinary.node('marked') == alice.node('desc("re:^b4$")')
    log = pushlog(ordinary.root / '.hg' / 'pushlog2.db')
    assert log.pop(9) == (b'old\xff', 1_400_000_000, [])
    shown = fetch_json(f'{base}json-pushes?startID=0&endID=4')
    assert {
        i: (user.decode(), date, nodes) for i, (user, date, nodes) in log.items()
    } == {int(i): (p['user'], p['date'], p['changesets']) for i, p in shown.items()}

    # Once more, with one more push: what is there is not fetched again.
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    again = exported(server, ordinary.root)
    assert (again['bundles'], again['there'], again['pushes']) == (1, 3, 6)
    assert ordinary.node('tip') == more
    log = pushlog(ordinary.root / '.hg' / 'pushlog2.db')
    assert (log[9][2], log[10][2]) == ([], [more])

    # And back in.
    back = make_server('embedded', name='back', public=0)
    back.hg('-q', 'pull', ordinary.root)
    back.hg('admin::headless-import-pushlog', ordinary.root / '.hg' / 'pushlog2.db')
    assert shown_without_tip(back.url('http')) == shown_without_tip(base)


@pytest.mark.slow
def test_some(world, server, alice):
    by_push, by_rev = world.init('push'), world.init('rev')
    b2 = alice.node('desc("re:^b2$")')
    out = server.hg('admin::headless-export', '--push', '2', by_push.root)
    assert out.endswith('exported 1 bundle and 1 push\n')
    assert by_push.log('draft()', '{desc}\n') == ['a1', 'b1', 'a2', 'b2']
    assert list(pushlog(by_push.root / '.hg' / 'pushlog2.db')) == [2]
    assert exported(server, '-r', b2[:12], '-r', 'marked', by_rev.root)['bundles'] == 2
    assert list(pushlog(by_rev.root / '.hg' / 'pushlog2.db')) == [1, 2, 4]
    # The rest, later.
    out = server.hg('admin::headless-export', by_push.root)
    assert out.endswith('exported 2 bundles and 5 pushes (2 bundles there already)\n')
    assert list(pushlog(by_push.root / '.hg' / 'pushlog2.db')) == [1, 2, 3, 4, 5]

    for args, words in (
        (('--push', '77', by_push.root), 'there is no push 77'),
        (('-r', 'abcabc', by_push.root), 'no stored draft is named in "abcabc"'),
        (('ssh://host/x',), 'ssh://host/x is not a local path'),
        ((server.root,), 'is a headless repository itself'),
        ((world.folder / 'none',), 'is not a repository: make one with "hg init"'),
    ):
        out = server.hg_fast('admin::headless-export', *args, code=255)
        assert re.match('abort: headless: refused: ', out) and words in out, out
        assert len(out.splitlines()) == 1
    unrelated = world.init('unrelated')
    unrelated.commit('x')
    assert 'unrelated' in server.hg('admin::headless-export', unrelated.root, code=255)
    assert unrelated.log('all()', '{desc}\n') == ['x']


def test_lost_and_spoiled_objects(world, server, alice):
    heads = {name: alice.node(f'desc("re:^{name}$")') for name in ('b1', 'b4', 'b5')}
    keys = {}
    for key, head in server.sql('SELECT key, head FROM bundles'):
        keys[head.hex()] = server.root / '.hg' / 'headless' / 'store' / key
    keys[heads['b4']].unlink()
    size = keys[heads['b5']].stat().st_size
    keys[heads['b5']].write_bytes(b'x' * size)
    ordinary = world.init('ordinary')
    items = json.loads(server.hg('admin::headless-export', '-T', 'json', ordinary.root, code=1))
    failed = {item['node'] for item in items if item['kind'] == 'failed'}
    assert failed == {heads['b4'], heads['b5']}
    assert (items[-1]['failed'], items[-1]['bundles'], items[-1]['pushes']) == (2, 2, 5)
    ordinary.verified()
    assert ordinary.log('draft()', '{desc}\n') == ['a1', 'b1', 'a2', 'b2']


@pytest.mark.slow
def test_killed(world, server, alice):
    write(world.folder / 'older.db', [(i, b'old', i, []) for i in range(10, 30_000)])
    server.hg_fast('admin::headless-import-pushlog', world.folder / 'older.db')
    ordinary = world.init('ordinary')
    hgrc = ordinary.root / '.hg' / 'hgrc'
    hgrc.write_text(
        '[hooks]\npretxnclose = test "$HG_TXNNAME" != headless-export || kill -9 $PPID\n'
    )
    server.hg('admin::headless-export', ordinary.root, code=-signal.SIGKILL)
    assert ordinary.log('all()', '{phase}') == ['public' * 4]
    hgrc.unlink()
    running = subprocess.Popen(
        [HG, 'admin::headless-export', ordinary.root], cwd=server.root, env=world.env
    )
    written = ordinary.root / '.hg' / 'pushlog2.db'
    while not (written.exists() and written.stat().st_size > 100_000):
        assert running.poll() is None
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = pushlog(written)
    assert 0 < len(before) < 29_995
    again = exported(server, ordinary.root)
    assert (again['bundles'], again['pushes']) == (0, 29_995)
    ordinary.verified()
    assert list(pushlog(written)) == [*range(1, 6), *range(10, 30_000)]
    assert ordinary.log('sort(all(), node)') == alice.log('sort(all(), node)')
