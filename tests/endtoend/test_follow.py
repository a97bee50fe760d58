"""Public history reaches every server by the log: ``admin::headless-follow``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time

import boto3
import pytest
from conftest import fresh
from helpers import services as running
from helpers.fleet import FOLLOW, Fleet
from helpers.web import fetch_json
from helpers.world import HG, Server, unrequire


@pytest.fixture
def fleet(world, services):
    made = Fleet(world, fresh(world, services))
    yield made
    made.stop()


def test_push_reaches_all(fleet, world):
    """Also a push with a draft above; nobody is shown a push before its server has it."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    node = alice.publish('one')
    draft = alice.commit('draft')
    alice.hg_fast('push')
    fleet.replica.start()
    shown = fleet.replica.start() + 'json-pushes'
    assert fetch_json(shown) == {}
    out = fleet.replica.hg(FOLLOW)
    assert 'applied 1 entry with 1 changeset; moved 0 bookmarks' in out
    assert fetch_json(shown)['1']['changesets'] == [node, draft]
    assert fleet.b.hg(FOLLOW) and not fleet.b.hg(FOLLOW)
    fleet.check_equal()
    assert fleet.b.log('tip') == [f'{node} public']


def test_push_says_nothing_of_the_object(fleet, world):
    """Mercurial counts the changesets of a bundle that it writes: to the user, on most roads."""
    alice = world.clone(str(fleet.a.root), 'alice')
    alice.publish('mine')
    assert 'changesets found' not in alice.hg_fast('push')
    alice.publish('yours')
    assert 'changesets found' not in alice.hg_fast('push', fleet.a.url('ssh'))


@pytest.mark.slow
def test_any_server_takes_the_next_push(fleet, world):
    """On public changesets that another one got a second ago."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    first = alice.publish('one')
    alice.hg_fast('push')
    second = alice.publish('two')
    third = alice.commit('three')
    alice.hg_fast('push', fleet.b.url('http'))
    fourth = alice.commit('four')
    alice.hg_fast('push', fleet.a.url('http'))
    assert alice.log('draft()', '{node}\n') == [third, fourth]
    fleet.follow()
    fleet.check_equal()
    pushes = fetch_json(fleet.replica.start() + 'json-pushes')
    assert {k: v['changesets'] for k, v in pushes.items()} == {
        '1': [first],
        '2': [second, third],
        '3': [fourth],
    }


@pytest.mark.slow
def test_two_heads_meet(fleet, world):
    """Pushed to two servers that know nothing of each other."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    bob = world.clone(fleet.b.url('http'), 'bob')
    alice.publish('alice')
    bob.hg_fast('branch', '-q', 'other')
    bob.publish('bob')
    alice.hg_fast('push')
    bob.hg_fast('push', '--new-branch')
    fleet.follow()
    fleet.check_equal()
    assert len(fleet.a.log('heads(all())')) == 2
    # One server alone joins them.
    alice.hg_fast('pull')
    alice.hg_fast('merge', '-r', 'branch(other)')
    alice.hg_fast('commit', '-m', 'merged')
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push')
    fleet.follow()
    fleet.check_equal()
    assert len(fleet.replica.log('heads(all())')) == 1


@pytest.mark.slow
def test_what_an_operator_pulls(fleet, world):
    """It is logged after the transaction, with what an operator makes public."""
    upstream = world.clone(str(fleet.a.root), 'upstream', '--pull')
    node = upstream.publish('upstream')
    fleet.a.hg('pull', str(upstream.root))
    fleet.replica.hg(FOLLOW)
    assert fleet.replica.log('tip') == [f'{node} public']
    assert 'logged' not in fleet.a.hg(FOLLOW)
    fleet.follow()
    fleet.check_equal()


@pytest.mark.slow
def test_what_is_pulled_while_the_database_is_down(fleet, world):
    """The next push of anything adds it, or the next follow."""
    settings = (fleet.a.root / '.hg' / 'hgrc').read_text()
    upstream = world.clone(str(fleet.a.root), 'upstream', '--pull')
    for way in ('push', 'follow'):
        node = upstream.publish(way)
        lines = [
            'database = postgresql+psycopg2://nobody@127.0.0.1:1/none'
            if line.startswith('database') else line
            for line in settings.splitlines()
        ]
        (fleet.a.root / '.hg' / 'hgrc').write_text('\n'.join(lines) + '\n')
        out = fleet.a.hg('pull', str(upstream.root), env={})
        assert 'headless: temporary' in out and 'the log of public history lacks' in out
        (fleet.a.root / '.hg' / 'hgrc').write_text(settings)
        if way == 'push':
            alice = world.clone(fleet.a.url('path'), 'alice')
            alice.commit('draft')
            alice.hg_fast('push')
        else:
            assert 'logged what the log of public history lacked: 1 bundle' in fleet.a.hg(FOLLOW)
        fleet.replica.hg(FOLLOW)
        assert fleet.replica.log('tip') == [f'{node} public']
        fleet.follow()
        fleet.check_equal()


#: An extension that kills its process as soon as the repository's own transaction is closed.
DYING = """
import os

def reposetup(ui, repo):
    class dying(repo.__class__):
        def transaction(self, *args, **kwargs):
            made = super().transaction(*args, **kwargs)
            made.addpostclose(b'die', lambda tr: os.kill(os.getpid(), 9))
            return made

    if repo.local():
        repo.__class__ = dying
"""


@pytest.mark.slow
def test_push_that_died(fleet, world):
    """Between the repository and the database: what it added is found, and becomes the push that
    it was going to be."""
    alice = world.clone(fleet.a.url('ssh'), 'alice')
    node = alice.publish('one')
    alice.commit('draft')
    hgrc = (fleet.a.root / '.hg' / 'hgrc').read_text()
    (world.folder / 'die.py').write_text(DYING)
    with open(fleet.a.root / '.hg' / 'hgrc', 'a') as file:
        file.write(f'[extensions]\ndie = {world.folder}/die.py\n')
    alice.hg_fast('push', code=255)
    (fleet.a.root / '.hg' / 'hgrc').write_text(hgrc)
    assert fleet.a.log('tip') == [f'{node} public']
    fleet.follow()
    fleet.check_equal()
    assert fleet.replica.log('tip') == [f'{node} public']
    shown = fleet.replica.start() + 'json-pushes'
    pushes = fetch_json(shown)
    assert pushes['1']['changesets'] == [node] and pushes['1']['user'] == 'alice'
    assert 'as push 2' in alice.hg_fast('push')
    assert not list((fleet.a.root / '.hg' / 'store' / 'headless-unrecorded').iterdir())


@pytest.mark.slow
def test_push_whose_database_failed(make_server, world):
    """After the repository was changed, in a server that lives on: the next push lists both."""
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    node = alice.publish('one')
    with contextlib.closing(sqlite3.connect(catalog_of(server))) as connection:
        connection.execute(
            'CREATE TRIGGER broken BEFORE INSERT ON pushes BEGIN SELECT RAISE(ABORT, "x"); END'
        )
        connection.commit()
        assert 'headless: temporary' in alice.hg_fast('push', code=255)
        connection.execute('DROP TRIGGER broken')
        connection.commit()
    assert server.changesets() == 4
    draft = alice.commit('draft')
    assert 'as push 2' in alice.hg_fast('push')
    pushes = fetch_json(server.url('http') + 'json-pushes')
    assert [push['changesets'] for push in pushes.values()] == [[node], [draft]]
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')


@pytest.mark.slow
def test_note_that_cannot_be_recorded(make_server, world):
    """A changeset that was banned before it was recorded: other pushes go on."""
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    alice.commit('one')
    assert 'as push 1' in alice.hg_fast('push')
    public = server.node('2')
    note = {'process': 'x', 'user': 'alice', 'date': 1, 'nodes': [public]}
    folder = server.root / '.hg' / 'store' / 'headless-unrecorded'
    folder.mkdir(exist_ok=True)
    (folder / 'note.failed').write_text(json.dumps(note))
    server.sql(
        'INSERT INTO audit (repository_id, date, user, action, subject, reason) '
        f"VALUES (1, 1, x'61', 'obliterate', x'{public}', x'')"
    )
    noted = server.root / '.hg' / 'headless' / 'store' / 'try' / 'obliterated' / public
    noted.parent.mkdir()
    noted.write_text(f'{public}\n')
    alice.commit('two')
    assert 'as push 2' in alice.hg_fast('push')
    assert not list(folder.iterdir())
    assert 'all is well' in server.hg_fast('admin::headless-verify')


@pytest.mark.slow
def test_note_of_another_host(make_server, world):
    """A container that was started again has another name: its note is taken up after a day."""
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    folder = server.root / '.hg' / 'store' / 'headless-unrecorded'
    folder.mkdir()
    public = server.node('2')
    note = {'process': 'gone:1', 'user': 'bob', 'date': 1, 'nodes': [public]}
    (folder / 'note').write_text(json.dumps(note))
    alice.commit('one')
    assert 'as push 1' in alice.hg_fast('push')
    assert list(folder.iterdir())
    os.utime(folder / 'note', (0, time.time() - 90000))
    alice.commit('two')
    assert 'as push 3' in alice.hg_fast('push')
    assert not list(folder.iterdir())
    pushes = fetch_json(server.url('http') + 'json-pushes')
    assert (pushes['2']['changesets'], pushes['2']['user']) == ([public], 'bob')


def catalog_of(server) -> str:
    """The embedded database, made if it is missing."""
    server.hg_fast('admin::headless-init')
    return str(server.root / '.hg' / 'headless' / 'catalog.sqlite')


@pytest.mark.slow
def test_bookmarks(fleet, world):
    """Of public changesets: set, moved and deleted on either server; those of drafts stay away."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    one = alice.publish('one')
    alice.hg_fast('bookmark', '-r', '.', 'stable', 'old')
    alice.hg_fast('push', '-B', 'stable', '-B', 'old')
    fleet.follow()
    fleet.check_equal()
    assert fleet.replica.log('bookmark()', '{node} {bookmarks}') == [f'{one} old stable']

    two = alice.publish('two')
    alice.hg_fast('bookmark', '-f', '-r', '.', 'stable')
    alice.hg_fast('push', '-B', 'stable', fleet.b.url('http'))
    alice.hg_fast('bookmark', '-d', 'old')
    alice.hg_fast('push', '-B', 'old', fleet.b.url('http'), code=1)
    fleet.follow()
    fleet.check_equal()
    assert fleet.a.log('bookmark()', '{node} {bookmarks}') == [f'{two} stable']

    alice.commit('draft')
    alice.hg_fast('bookmark', '-f', '-r', '.', 'stable')
    alice.hg_fast('push', '-B', 'stable', fleet.b.url('http'))
    fleet.follow()
    fleet.check_equal()
    assert fleet.replica.log('bookmark()') == []


@pytest.mark.slow
def test_bookmarks_of_an_operator(fleet, world):
    fleet.a.hg_fast('bookmark', '-r', '1', 'mark')
    fleet.replica.hg(FOLLOW)
    assert fleet.replica.log('bookmark(mark)', '{rev}') == ['1']
    # Where the hook could not run:
    fleet.a.hg(FOLLOW)
    (fleet.a.root / '.hg' / 'bookmarks').write_text(fleet.a.node('0') + ' mark\n')
    assert '0 bundles, 1 bookmark' in fleet.a.hg(FOLLOW)
    fleet.follow()
    fleet.check_equal()
    assert fleet.b.log('bookmark(mark)', '{rev}') == ['0']


@pytest.mark.slow
def test_watch(fleet, world):
    """It is told of a push, goes on after it was killed, and ends when it is told to."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    process = watching(fleet.replica)
    try:
        for name in ('one', 'two'):
            node = alice.publish(name)
            alice.hg_fast('push')
            wait_for(fleet.replica, node)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = watching(fleet.replica)
        node = alice.publish('three')
        alice.hg_fast('push')
        wait_for(fleet.replica, node)
        process.terminate()
        assert process.wait(timeout=20) == 255  # as each hg command
    finally:
        process.kill()
        process.wait()


def watching(server: Server) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [HG, '-R', server.root, FOLLOW, '--watch'], env={**server.world.env, **server.extra_env}
    )


def wait_for(server: Server, node: str) -> None:
    deadline = time.monotonic() + 60
    while server.hg_fast('log', '-r', node, '-T', '{phase}', code=None) != 'public':
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_killed_in_its_transaction(fleet, world):
    alice = world.clone(fleet.a.url('http'), 'alice')
    for name in ('one', 'two'):
        alice.publish(name)
        alice.hg_fast('push')
    hgrc = (fleet.replica.root / '.hg' / 'hgrc').read_text()
    with open(fleet.replica.root / '.hg' / 'hgrc', 'a') as file:
        file.write('[hooks]\npretxnclose.die = kill -9 $PPID\n')
    fleet.replica.hg(FOLLOW, code=-9, env={})
    assert (fleet.replica.root / '.hg' / 'store' / 'journal').exists()
    (fleet.replica.root / '.hg' / 'hgrc').write_text(hgrc)
    assert 'applied 2 entries' in fleet.replica.hg(FOLLOW)
    fleet.follow()
    fleet.check_equal()
    fleet.replica.verified()


@pytest.mark.slow
def test_new_replica(fleet, world):
    """From a clone of some time ago, by stock's means; it may be ahead of the log too."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    for name in ('one', 'two', 'three'):
        alice.publish(name)
        alice.hg_fast('push')
        if name == 'one':
            world.hg('clone', '-q', '-U', str(fleet.a.root), 'clone')
    made = world.folder / 'clone'
    hgrc = (fleet.replica.root / '.hg' / 'hgrc').read_text()
    (made / '.hg' / 'hgrc').write_text(hgrc)
    world.hg('-R', str(made), FOLLOW)
    world.hg('-R', str(made), 'pull', fleet.a.start())
    assert world.hg('-R', str(made), 'log', '-T', '{node} {phase}\n') == ''.join(
        line + '\n' for line in fleet.a.log('reverse(all())')
    )


def test_repository_from_before_the_log(fleet, world):
    """It lacks what no entry has: one line, and nothing is applied."""
    world.hg('init', 'empty')
    (world.folder / 'empty' / '.hg' / 'hgrc').write_text(
        (fleet.replica.root / '.hg' / 'hgrc').read_text()
    )
    out = world.hg('-R', 'empty', FOLLOW, code=255)
    assert 'headless: temporary: this repository lacks' in out
    assert 'pulled from another server' in out


@pytest.mark.slow
def test_verify_and_gc(fleet, world, services):
    """gc keeps the objects; a lost one is found, and stored again from the repository."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    alice.publish('one')
    alice.hg_fast('push')
    assert 'all is well' in fleet.a.hg_fast('admin::headless-verify', '--full')
    fleet.a.hg_fast('admin::headless-gc', '--grace', '0s', '--force')
    # What a server that is behind lacks is not taken for lost.
    out = fleet.b.hg_fast('admin::headless-verify', '--repair', code=1)
    assert 'lacks 1 entry' in out
    assert 'temporary: this repository is 1 entry behind' in out
    assert '1 problem, 0 repaired' in out
    fleet.b.hg(FOLLOW)
    lose_objects(fleet, services)
    assert 'headless: corrupt' in fleet.replica.hg(FOLLOW, code=255)
    out = fleet.b.hg_fast('admin::headless-verify', '--full', code=1)
    assert 'the object of public history is not in the store' in out
    assert '(repaired)' in fleet.b.hg_fast('admin::headless-verify', '--repair')
    assert 'all is well' in fleet.b.hg_fast('admin::headless-verify', '--full')
    fleet.replica.hg(FOLLOW)
    fleet.check_equal()


def lose_objects(fleet, services) -> None:
    client = boto3.client(
        's3',
        endpoint_url=services.endpoint,
        region_name='us-east-1',
        aws_access_key_id=running.ACCESS_KEY,
        aws_secret_access_key=running.SECRET_KEY,
    )
    prefix = fleet.a.configured('store').split('/', 3)[3]
    for found in client.list_objects_v2(Bucket=running.BUCKET, Prefix=prefix)['Contents']:
        client.delete_object(Bucket=running.BUCKET, Key=found['Key'])


def test_embedded_database_has_no_log(make_server):
    server = make_server('embedded')
    assert 'headless: refused' in server.hg(FOLLOW, code=255)


@pytest.mark.slow
def test_hooks_of_a_follower(fleet, world):
    """Those of a pull run, once."""
    with open(fleet.replica.root / '.hg' / 'hgrc', 'a') as file:
        file.write('[hooks]\nincoming = echo incoming $HG_SOURCE $HG_NODE\n')
    alice = world.clone(fleet.a.url('http'), 'alice')
    node = alice.publish('one')
    alice.hg_fast('push')
    out = fleet.replica.hg(FOLLOW)
    assert out.count(f'incoming pull {node}') == 1


@pytest.mark.slow
def test_history_without_the_requirement(fleet, world):
    """Stock's verify is content with what was applied."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    alice.publish('one')
    alice.hg_fast('push')
    fleet.replica.hg(FOLLOW)
    unrequire(fleet.replica.root)
    os.unlink(fleet.replica.root / '.hg' / 'hgrc')
    fleet.replica.hg_fast('verify', '-q')
