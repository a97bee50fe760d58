"""A database that is older than what its servers and its store have."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import sqlalchemy
from conftest import fresh
from helpers.fleet import FOLLOW, Backup, Fleet, public, sql
from helpers.web import fetch, fetch_json, fetch_page


@pytest.fixture
def fleet(world, services):
    made = Fleet(world, fresh(world, services))
    yield made
    made.stop()


def move(alice, name, url, *args) -> str:
    """Move the bookmark ``stable`` to a new public changeset."""
    node = alice.publish(name)
    alice.hg_fast('bookmark', '-f', '-r', node, 'stable')
    alice.hg_fast('push', '-B', 'stable', *args, url)
    return node


@pytest.mark.slow
@pytest.mark.parametrize('follows', ['push server followed', 'push server not followed'])
def test_bookmark_after_a_restore(fleet, world, services, follows):
    """A move that is made after it stays, whatever others had seen before."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    url = fleet.a.url('http')
    move(alice, 'first', url)
    fleet.follow()
    backup = Backup(services, fleet.a)
    moved = [move(alice, f'moved{number}', url) for number in range(4)]
    fleet.b.hg(FOLLOW)
    fleet.replica.hg(FOLLOW)
    backup.restore()
    if follows == 'push server followed':
        fleet.a.hg(FOLLOW)
        alice.hg_fast('pull', url)
        last = move(alice, 'last', url)
    else:
        last = alice.publish('last')
        alice.hg_fast('bookmark', '-f', '-r', last, 'stable')
        # It has followed by now, so the bookmark is not where the client saw it.
        assert 'please try again' in alice.hg_fast('push', '-B', 'stable', url, code=255)
        alice.hg_fast('push', '-B', 'stable', url)
    for _time in range(2):
        fleet.b.hg(FOLLOW)
        fleet.replica.hg(FOLLOW)
        fleet.a.hg(FOLLOW)
    fleet.check_equal()
    assert fleet.replica.log('bookmark(stable)', '{node}') == [last]
    # Nor are the pushes lost that the database forgot.
    pushes = fetch_json(fleet.a.start() + 'json-pushes?startID=1')
    assert [p['changesets'] for p in pushes.values()] == [[node] for node in (*moved, last)]
    assert min(map(int, pushes)) == 1000001


@pytest.mark.slow
def test_bookmark_without_any_backup(fleet, world, services):
    """The log begins again, and knows no bookmark."""
    backup = Backup(services, fleet.a)
    alice = world.clone(fleet.a.url('http'), 'alice')
    url = fleet.a.url('http')
    moved = [move(alice, f'moved{number}', url) for number in range(4)]
    fleet.follow()
    backup.restore()
    fleet.a.hg_fast('admin::headless-rebuild')
    pushes = fetch_json(url + 'json-pushes')
    assert [p['changesets'] for p in pushes.values()] == [[node] for node in moved]
    last = move(alice, 'last', url)
    fleet.follow()
    fleet.follow()
    fleet.check_equal()
    assert fleet.replica.log('bookmark(stable)', '{node}') == [last]


def test_ids_are_never_given_twice(fleet, world, services):
    """What was pushed after the backup comes again, with ids that nobody has seen."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    url = fleet.a.url('http')
    first = alice.commit('first')
    alice.hg_fast('push')
    backup = Backup(services, fleet.a)
    shown = fleet.a.start() + 'json-pushes?version=2'
    epoch = fetch_json(shown)['epoch']
    landed = alice.publish('landed')
    draft = alice.commit('draft')
    assert 'as push 2' in alice.hg_fast('push', '-f', '-r', draft, url)
    backup.restore()
    url = fleet.a.restart()
    out = fleet.a.hg_fast('admin::headless-verify', code=1)
    assert f'{landed}: is public here, and not in the log of public history' in out
    assert 'not looked at: 2 objects without a row' in out  # a push may be recording them
    out = fleet.a.hg_fast('admin::headless-rebuild')
    assert re.search('push ids go on at 1000001', out), out
    for server in fleet.servers:
        server.hg(FOLLOW)
    later = alice.commit('later')
    alice.hg_fast('push', '-f', '-r', later, url)
    answer = fetch_json(fleet.a.start() + 'json-pushes?version=2')
    assert answer['epoch'] != epoch
    pushes = {int(i): p['changesets'] for i, p in answer['pushes'].items()}
    assert pushes[1] == [first] and min(i for i in pushes if i > 1) == 1000001
    listed = [node for nodes in pushes.values() for node in nodes]
    assert sorted(listed) == sorted({first, landed, draft, later})
    assert 'all is well' in fleet.a.hg_fast('admin::headless-verify', '--full')
    # What a changeset says of its push is what the pushlog says.
    for node, user in ((first, 'anonymous'), (landed, 'anonymous'), (draft, 'rebuilt')):
        [push_id] = (i for i, nodes in pushes.items() if node in nodes)
        facts = fetch_json(f'{url}json-rev/{node}')
        assert (facts['pushid'], facts['pushuser']) == (push_id, user)
        assert facts['pushdate'] == [answer['pushes'][str(push_id)]['date'], 0]
        relevant = fetch_json(f'{url}json-automationrelevance/{node}')['changesets'][-1]
        keywords = ('pushid', 'pushuser', 'pushdate')
        assert [relevant[key] for key in keywords] == [facts[key] for key in keywords]
    template = '{pushid} {pushuser} {pushheadnode}'
    assert fleet.a.log(landed, template) == [f'1000001 anonymous {landed}']
    # Whoever has seen push 2 misses nothing.
    answer = fetch_json(fleet.a.start() + 'json-pushes?version=2&startID=2')
    assert {int(i) for i in answer['pushes']} == pushes.keys() - {1}


def test_pushes_of_other_servers_have_their_users(fleet, world, services):
    """A server that has followed can tell who pushed to another one; parents come first."""
    backup = Backup(services, fleet.a)
    alice = world.clone(fleet.a.url('path'), 'alice')
    nodes = []
    for user, server in (('anna', fleet.b), ('ben', fleet.a), ('carl', fleet.b)):
        nodes.append(alice.publish(user))
        alice.hg('push', server.url('path'), env={'USER': user})
        fleet.follow()
    backup.restore()
    fleet.a.hg_fast('admin::headless-rebuild')
    pushes = fetch_json(fleet.a.url('http') + 'json-pushes').values()
    found = [(push['user'], push['changesets']) for push in pushes]
    assert found == [('anna', nodes[:1]), ('ben', nodes[1:2]), ('carl', nodes[2:])]


def test_public_history_that_nobody_has_noted(fleet, world, services):
    """It is in a push, also if the log begins again above it."""
    backup = Backup(services, fleet.a)
    alice = world.clone(fleet.a.url('path'), 'alice')
    nodes = [alice.publish('one'), alice.publish('two')]
    alice.hg_fast('push')
    backup.restore()
    shutil.rmtree(fleet.a.root / '.hg' / 'store' / 'headless-recorded')
    sql(fleet.a, 'DELETE FROM public_history')
    fleet.a.hg_fast('admin::headless-init')
    fleet.a.hg_fast('admin::headless-rebuild')
    pushes = fetch_json(fleet.a.url('http') + 'json-pushes').values()
    assert [(push['user'], push['changesets']) for push in pushes] == [('rebuilt', nodes)]
    fleet.a.hg_fast('admin::headless-rebuild')
    assert len(fetch_json(fleet.a.url('http') + 'json-pushes')) == 1


@pytest.mark.slow
def test_restored(fleet, world, services):
    """The command begins an epoch by itself; numbers go on from there."""
    alice = world.clone(fleet.a.url('http'), 'alice')
    for name in ('one', 'two'):
        alice.commit(name)
        alice.hg_fast('push', '-f')
    shown = fleet.a.start() + 'json-pushes?version=2'
    before = fetch_json(shown)
    out = fleet.a.hg_fast('admin::headless-restored')
    assert 'push ids go on at 1000001' in out
    after = fetch_json(shown)
    assert after['epoch'] in out and after['epoch'] != before['epoch']
    assert after['pushes'] == before['pushes']
    alice.commit('three')
    assert 'as push 1000001' in alice.hg_fast('push', '-f')
    assert list(fetch_json(shown)['pushes']) == ['1', '2', '1000001']
    # A database that was lost, without a dump, does not know which ids were seen.
    out = fleet.a.hg_fast('admin::headless-restored', '--above', '3000005')
    assert 'push ids go on at 4000001' in out and 'pushes after 1000001 that' in out
    out = fleet.a.hg('admin::headless-restored', '--above', 'x', code=255)
    assert '--above' in out
    assert '>Last<' not in fetch_page(fleet.a.url('http') + 'pushloghtml')
    assert 'all is well' in fleet.a.hg_fast('admin::headless-verify')
    sql(fleet.a, 'DELETE FROM push_changesets WHERE push_id = 2')
    sql(fleet.a, 'DELETE FROM push_branches WHERE push_id = 2')
    sql(fleet.a, 'DELETE FROM pushes WHERE push_id = 2')
    assert 'push: 2: there is no push with this id' in fleet.a.hg_fast(
        'admin::headless-verify', code=1
    )


@pytest.mark.slow
def test_lost_moves_are_named(fleet, world, services):
    alice = world.clone(fleet.a.url('http'), 'alice')
    url = fleet.a.url('http')
    first = move(alice, 'first', url)
    fleet.follow()
    backup = Backup(services, fleet.a)
    second = move(alice, 'second', url)
    alice.hg_fast('bookmark', '-r', second, 'gone')
    alice.hg_fast('push', '-B', 'gone', url, code=1)
    alice.hg_fast('bookmark', '--delete', 'gone')
    alice.hg_fast('push', '-B', 'gone', url, code=1)
    fleet.follow()
    backup.restore()
    for server in (fleet.a, fleet.b):
        out = server.hg_fast('admin::headless-verify', code=1)
        assert f'bookmark: stable: is at {second} here' in out
        assert first in out and 'gone' not in out
    fleet.follow()
    fleet.follow()
    assert public(fleet.a) == public(fleet.b)


def test_name_without_a_repository(fleet, world):
    """Neither a typing error nor a name that was dropped becomes a repository by a push."""
    alice = world.clone(fleet.a.url('path'), 'alice')
    alice.commit('one')
    fleet.a.configure(fleet.settings.replace('database', 'repository = tyr\ndatabase'))
    out = alice.hg_fast('push', code=255)
    assert 'headless: misconfigured' in out and '"tyr"' in out
    assert sql(fleet.b, 'SELECT name FROM repositories') == [('try',)]
    url = fleet.a.start()
    code, body, _headers = fetch(f'{url}headless-ready')
    found = json.loads(body)
    assert (code, found['ready'], found['database']) == (503, False, 'misconfigured')
    line = 'headless: misconfigured: the repository "tyr" is not in the database'
    assert found['line'].startswith(line)
    assert line in json.loads(fetch(f'{url}json-pushes')[1])['error']
    for page in ('json-pushes', 'pushloghtml'):
        code, body, _headers = fetch(url + page)
        assert code == 503 and b'misconfigured' in body and b'by themselves' not in body, body
    assert fetch(f'{url}log')[0] == 200
    assert fleet.a.hg_fast('admin::headless-doctor', code=1).count(line) == 1
    fleet.a.configure(fleet.settings)
    assert 'as push 1' in alice.hg_fast('push')


def test_a_copy_deletes_nothing(world, services):
    """It has the same store, and knows nothing of what is pushed after it was made."""
    fleet = Fleet(world, f'{fresh(world, services)}store = file://{world.folder}/store\n')
    alice = world.clone(fleet.a.url('path'), 'alice')
    for name in ('before', 'after'):
        draft = alice.commit(name)
        alice.hg_fast('push')
        fleet.a.hg_fast('admin::headless-gc')
        if name == 'before':
            Backup(services, fleet.a)
    hgrc = fleet.b.root / '.hg' / 'hgrc'
    database = sqlalchemy.make_url(fleet.a.configured('database')).database
    hgrc.write_text(re.sub(f'(database = .*/{database})', r'\1_backup', hgrc.read_text()))
    for command in (
        ('gc', '--grace', '0s'),
        ('expire', '--older-than', '0s'),
        ('obliterate', '--reason', 'x', draft),
        ('drop', '--force', 'try'),
    ):
        out = fleet.b.hg_fast(f'admin::headless-{command[0]}', *command[1:], code=None)
        assert 'headless: misconfigured: another database has these objects' in out, command
    assert 'problem: store: ' + out.partition('abort: ')[2] in fleet.b.hg_fast(
        'admin::headless-doctor', code=1
    )
    assert 'all is well' in fleet.a.hg_fast('admin::headless-verify', '--full')
    [note] = (world.folder / 'store').glob('try/database/*')
    assert note.name.endswith(f'-{database}') and f'try/database/{note.name}' in out
    note.unlink()  # it takes its place
    assert fleet.b.hg_fast('admin::headless-gc', '--grace', '0s')
    out = fleet.a.hg_fast('admin::headless-gc', code=255)
    assert f'{note.name}_backup' in out
