"""Two push servers refuse what one would, and neither undoes what the other took."""

from __future__ import annotations

import threading

import pytest
from conftest import fresh
from helpers.fleet import FOLLOW, Fleet, sql
from helpers.web import fetch_json

RACED = 'remote repository changed while pushing - please try again'


@pytest.fixture
def fleet(world, services):
    made = Fleet(world, fresh(world, services))
    yield made
    made.stop()


@pytest.fixture
def people(fleet, world):
    """Alice pushes to the one server, Bob to the other."""
    return world.clone(fleet.a.url('http'), 'alice'), world.clone(fleet.b.url('http'), 'bob')


def test_second_public_head(fleet, people):
    """Of two pushes without -f on the same parent, the second has to merge, wherever it goes."""
    alice, bob = people
    one, two = alice.publish('one'), bob.publish('two')
    alice.hg_fast('push')
    assert RACED in bob.hg_fast('push', code=255)
    assert fleet.b.log('heads(all())', '{node}') == [one]
    bob.hg_fast('pull')
    bob.hg_fast('merge', one)
    bob.hg_fast('commit', '-m', 'merged')
    bob.hg_fast('phase', '--public', '.')
    bob.hg_fast('push')
    fleet.follow()
    fleet.check_equal()
    assert len(fleet.a.log('heads(all())')) == 1
    assert two in fleet.a.log('all()', '{node}\n')


@pytest.mark.slow
def test_second_public_head_with_force(fleet, people):
    alice, bob = people
    alice.publish('one')
    bob.publish('two')
    alice.hg_fast('push')
    bob.hg_fast('push', '-f')
    fleet.follow()
    fleet.check_equal()
    assert len(fleet.replica.log('heads(all())')) == 2


@pytest.mark.slow
def test_pushes_at_the_same_time(fleet, people, world):
    """The second waits until the first is recorded, and is then compared with it."""
    alice, bob = people
    one = alice.publish('one')
    bob.publish('two')
    begun, go_on = world.folder / 'begun', world.folder / 'go-on'
    (world.folder / 'late.py').write_text(
        'import hgdemandimport, os, time\n'
        'with hgdemandimport.deactivated():\n'
        '    from hgext_headless.receive import apply\n'
        'applied = apply.apply\n'
        'def late(*args, **kwargs):\n'
        f'    open({str(begun)!r}, "w").close()\n'
        f'    while not os.path.exists({str(go_on)!r}):\n'
        '        time.sleep(0.1)\n'
        '    return applied(*args, **kwargs)\n'
        'apply.apply = late\n'
    )
    fleet.a.stop()
    fleet.a.configure(fleet.settings, f'[extensions]\nlate = {world.folder}/late.py\n')
    url = fleet.a.start()
    first = threading.Thread(target=lambda: alice.hg_fast('push', url))
    first.start()
    while not begun.exists():
        assert first.is_alive()
    out = []
    second = threading.Thread(target=lambda: out.append(bob.hg_fast('push', code=255)))
    second.start()
    second.join(2)
    assert second.is_alive()
    go_on.touch()
    first.join()
    second.join()
    assert RACED in out[0]
    assert fleet.b.log('heads(all())', '{node}') == [one]
    fleet.a.configure(fleet.settings)
    fleet.follow()
    fleet.check_equal()


def test_bookmark_moved_twice(fleet, people):
    """From the same place, on two servers: the second is told, and the first stays."""
    alice, bob = people
    alice.hg_fast('bookmark', '-r', '1', 'stable')
    alice.hg_fast('push', '-B', 'stable', code=1)
    fleet.follow()
    bob.hg_fast('pull', '-B', 'stable')
    one = alice.publish('one')
    alice.hg_fast('bookmark', '-f', '-r', one, 'stable')
    alice.hg_fast('push', '-B', 'stable')
    bob.hg_fast('bookmark', '-f', '-r', '2', 'stable')
    assert RACED in bob.hg_fast('push', '-B', 'stable', code=255)
    fleet.follow()
    fleet.check_equal()
    assert fleet.b.log('bookmark(stable)', '{node}') == [one]


@pytest.mark.slow
def test_bookmark_that_another_server_has(fleet, people):
    """A draft's bookmark does not hide behind a public one that has not arrived yet."""
    alice, bob = people
    alice.hg_fast('bookmark', '-r', '1', 'mark')
    alice.hg_fast('push', '-B', 'mark', code=1)
    draft = bob.commit('draft')
    bob.hg_fast('bookmark', '-r', draft, 'mark')
    assert RACED in bob.hg_fast('push', '-r', draft, '-B', 'mark', code=255)
    fleet.follow()
    fleet.check_equal()
    assert fleet.a.log('bookmark(mark)', '{rev}') == ['1']


@pytest.mark.slow
def test_draft_on_a_base_of_another_server(fleet, people):
    """Discovered on one server, sent to the other a moment later: it follows by itself."""
    alice, _bob = people
    base = alice.publish('one')
    alice.hg_fast('push')
    draft = alice.commit('draft')
    assert 'as push 2' in alice.hg_fast('push', fleet.b.url('http'))
    assert fleet.b.log('tip', '{node}') == [base]
    shown = fetch_json(fleet.b.url('http') + 'json-pushes')
    assert shown['2']['changesets'] == [draft]


@pytest.mark.slow
def test_bookmark_on_a_changeset_of_another_server(fleet, people):
    alice, _bob = people
    one = alice.publish('one')
    alice.hg_fast('push')
    alice.hg_fast('bookmark', '-r', one, 'stable')
    alice.hg_fast('push', '-B', 'stable', fleet.b.url('http'))
    fleet.follow()
    fleet.check_equal()
    assert fleet.replica.log('bookmark(stable)', '{node}') == [one]


@pytest.mark.slow
def test_content_of_another_server(fleet, people):
    """What the client leaves out because another server has it: temporary, and there at once."""
    alice, _bob = people
    alice.commit('shared', 'the same text\n' * 50)
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push')
    alice.hg_fast('update', '-q', '0')
    alice.commit('other')
    alice.commit('shared', 'the same text\n' * 50)
    out = alice.hg_fast('push', '-f', '-r', '.', fleet.b.url('http'), code=None)
    if out.code:
        assert 'headless: temporary' in out
        alice.hg_fast('push', '-f', '-r', '.', fleet.b.url('http'))


def test_expire_on_a_server_that_lags(fleet, people):
    """What landed on another server stays in its push."""
    alice, _bob = people
    node = alice.commit('draft')
    alice.hg_fast('push')
    fleet.follow()
    alice.hg_fast('phase', '--public', node)
    alice.hg_fast('push')
    out = fleet.b.hg_fast('admin::headless-expire', '--user', 'anonymous', code=255)
    assert 'headless: temporary' in out and 'headless-follow' in out
    shown = fetch_json(fleet.a.url('http') + 'json-pushes')
    assert shown['1']['changesets'] == [node]
    fleet.b.hg(FOLLOW)
    assert 'expired 0 drafts' in fleet.b.hg_fast('admin::headless-expire', '--user', 'anonymous')
    shown = fetch_json(fleet.a.url('http') + 'json-pushes')
    assert shown['1']['changesets'] == [node]


@pytest.mark.slow
def test_obliterate_on_a_server_that_lags(fleet, people):
    alice, _bob = people
    node = alice.commit('draft')
    alice.hg_fast('push')
    fleet.follow()
    alice.hg_fast('phase', '--public', node)
    alice.hg_fast('push')
    args = ('admin::headless-obliterate', '--reason', 'secret', node)
    out = fleet.b.hg(*args, code=255)
    assert 'headless: temporary' in out and 'headless-follow' in out
    assert fleet.b.hg_fast('admin::headless-audit') == ''
    fleet.b.hg(FOLLOW)
    assert 'headless: refused' in fleet.b.hg(*args, code=255)
    assert 'as push 2' in (alice.commit('next') and alice.hg_fast('push'))


@pytest.mark.slow
def test_published_while_it_expires(fleet, people, world):
    """Between the look at what is public and the commit."""
    alice, _bob = people
    node = alice.commit('draft')
    alice.hg_fast('push')
    alice.hg_fast('phase', '--public', node)
    (world.folder / 'late.py').write_text(
        'import hgdemandimport, subprocess\n'
        'with hgdemandimport.deactivated():\n'
        '    from hgext_headless.lifecycle import drop\n'
        'plan = drop.plan\n'
        'def late(*args, **kwargs):\n'
        '    planned = plan(*args, **kwargs)\n'
        f'    subprocess.run(["hg", "-R", "{alice.root}", "push", "-q", "{fleet.a.url("http")}"])\n'
        '    return planned\n'
        'drop.plan = late\n'
    )
    out = fleet.b.hg(
        'admin::headless-expire', '--user', 'anonymous', '--config',
        f'extensions.late={world.folder}/late.py', code=255,
    )
    assert 'headless: temporary' in out and 'headless-follow' in out
    shown = fetch_json(fleet.a.url('http') + 'json-pushes')
    assert shown['1']['changesets'] == [node]


@pytest.mark.slow
def test_damaged_pushes_are_repaired(fleet, people):
    """Those of which an older version made tombstones."""
    alice, _bob = people
    node = alice.commit('draft')
    alice.hg_fast('push')
    alice.hg_fast('phase', '--public', node)
    alice.hg_fast('push')
    before = fetch_json(fleet.a.url('http') + 'json-pushes?full=1')
    sql(
        fleet.a,
        'INSERT INTO tombstones SELECT repository_id, push_id, position, node, p1, p2, 1 '
        'FROM push_changesets JOIN (SELECT id, node, p1, p2 FROM changesets) AS c '
        'ON c.id = changeset_id',
    )
    for table in ('push_changesets', 'draft_roots', 'bundle_changesets', 'bundles', 'changesets'):
        where = " WHERE state = 'live'" if table == 'bundles' else ''
        sql(fleet.a, f'DELETE FROM {table}{where}')
    out = fleet.a.hg_fast('admin::headless-verify', code=1)
    assert f'{node}: is public, and push 1 says that it is gone' in out
    assert '(repaired)' in fleet.a.hg_fast('admin::headless-verify', '--repair', code=None)
    assert fetch_json(fleet.a.url('http') + 'json-pushes?full=1') == before
