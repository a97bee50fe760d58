"""A client never publishes what it pushed as draft, and learns what was published."""

from __future__ import annotations

import subprocess

import pytest
from helpers import services as running
from helpers.balancer import balanced
from helpers.many_drafts import heads
from helpers.world import HG


def drafts(clone, revs='draft()'):
    return clone.log(f'sort({revs}, node)', '{node}\n')


def stays(clone, expected, *args):
    """A push that leaves the client's drafts as they are."""
    out = (clone.hg if args else clone.hg_fast)('push', *args)
    assert sorted(drafts(clone)) == sorted(expected), out
    return out


def test_each_push_leaves_drafts_drafts(world, make_server, transport):
    """First push, the same again, a growing stack, a part that is public, phases alone."""
    server = make_server('embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    nodes = [alice.commit('a'), alice.commit('b')]
    stays(alice, nodes)
    assert 'all changesets had been pushed before' in stays(alice, nodes)
    for number in range(4):
        nodes.append(alice.commit(f'grown{number}'))
        assert f'stored 1 changeset as push {number + 2}' in stays(alice, nodes)
    # Its first part becomes public, together with a new draft: the roots are those after.
    alice.hg_fast('phase', '--public', '-r', nodes[0])
    nodes.append(alice.commit('after'))
    stays(alice, nodes[1:])
    assert server.log('tip') == [f'{nodes[0]} public']
    # Phases alone.
    alice.hg_fast('phase', '--public', '-r', nodes[1])
    stays(alice, nodes[2:])
    assert server.log('tip') == [f'{nodes[1]} public']
    assert server.changesets() == 5
    stays(alice, nodes[2:])
    alice.hg_fast('pull')
    assert drafts(alice) == sorted(nodes[2:])


def test_heads_merges_and_roots(world, make_server, transport):
    server = make_server('embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    nodes = []
    for name in ('left', 'right'):
        alice.hg_fast('update', '-q', 'public()')
        nodes += [alice.commit(f'{name}0'), alice.commit(f'{name}1')]
    alice.hg_fast('push', '-q', '-f', '-r', nodes[1])
    stays(alice, nodes, '-f')
    alice.hg_fast('merge', '-q', '-r', nodes[1])
    alice.hg_fast('commit', '-m', 'merged')
    nodes.append(alice.node())
    assert 'stored 1 changeset' in stays(alice, nodes)  # a merge of stored drafts, plainly
    alice.hg_fast('update', '-q', 'null')
    nodes.append(alice.commit('own root'))
    stays(alice, nodes, '-f')


def test_empty_server(world, make_server, transport):
    server = make_server('embedded', public=0)
    url = server.url(transport)
    alice = world.init('alice')
    nodes = [alice.commit('a')]
    stays(alice, nodes, url)
    nodes.append(alice.commit('b'))
    stays(alice, nodes, url)
    stays(alice, nodes, url)


def test_landing_needs_no_force(world, make_server, transport):
    """A public child of stored drafts goes in plainly, so that the race check stays."""
    server = make_server('embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    alice.commit('a')
    alice.hg_fast('push')
    bob = world.clone(url, 'bob')
    bob.hg_fast('pull', '-q', '-u', '-r', alice.node())
    alice.commit('landed')
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push')
    assert server.log('tip') == [f'{alice.node()} public']
    # Who had the draft learns it with the next pull; who lands beside it is told.
    bob.commit('beside')
    bob.hg_fast('phase', '--public', '.')
    assert 'push creates new remote head' in bob.hg_fast('push', code=255)
    assert server.changesets() == 5


def test_publish_is_learned_at_once(world, make_server, transport):
    server = make_server('embedded')
    alice = world.clone(server.url(transport), 'alice')
    node = alice.commit('a')
    alice.hg_fast('push')
    alice.hg_fast('push', '--publish')
    assert server.log('tip') == [f'{node} public']
    assert alice.log('tip') == [f'{node} public']


@pytest.mark.slow
def test_published_by_somebody_else(world, make_server, transport):
    server = make_server('embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    nodes = [alice.commit(name) for name in 'abc']
    alice.hg_fast('push')
    bob = world.clone(url, 'bob')
    bob.hg_fast('pull', '-q', '-r', nodes[0])
    bob.hg_fast('phase', '--public', '-r', nodes[0])
    out = bob.hg_fast('push')
    assert 'headless: published 1 draft pushed before\n' in out
    assert ('/push/1\n' in out) == (transport == 'http')
    assert server.log('tip') == [f'{nodes[0]} public']
    # Its root is public by now: its child has to be named, and it must not.
    stays(alice, nodes[1:])
    alice.hg_fast('pull')
    assert drafts(alice) == sorted(nodes[1:])


def test_a_branch_of_drafts_needs_new_branch_each_time(world, make_server, transport):
    server = make_server('embedded')
    alice = world.clone(server.url(transport), 'alice')
    alice.hg_fast('branch', '-q', 'topic')
    nodes = []
    for name in 'ab':
        nodes.append(alice.commit(name))
        assert 'push creates new remote branches: topic' in alice.hg_fast('push', code=255)
        stays(alice, nodes, '--new-branch')


def test_two_server_processes(world, make_server):
    """Each request of a push is answered by another process than the one before."""
    server = make_server('embedded')
    first = server.start()
    second = server.start_another()
    # Turns are taken one later each time: whichever request comes last, both answer it.
    for urls in ((first, second), (second, first)):
        with balanced(*urls) as url:
            alice = world.clone(url, f'alice{urls.index(first)}')
            nodes = [alice.commit('a'), alice.commit('b')]
            stays(alice, nodes, url)
            nodes.append(alice.commit('c'))
            stays(alice, nodes, url)
            alice.hg_fast('phase', '--public', '-r', nodes[0])
            stays(alice, nodes[1:], url)
            stays(alice, nodes[1:], url)
            server.hg('debugstrip', '--no-backup', nodes[0], '--config', 'extensions.strip=')


def test_database_fails_after_the_push(world, make_server, services):
    """The client's phases stay, it is told, and the next push finds all stored."""
    server = make_server('services')
    name = server.configured('database').split('?')[0].rsplit('/', 1)[1]
    pushed = []

    def before(method: str, path: str) -> None:
        if 'cmd=unbundle' in path:
            pushed.append(path)
        elif 'cmd=listkeys' in path and pushed:
            running.execute(services, f'ALTER DATABASE {name} ALLOW_CONNECTIONS false')
            running.execute(
                services,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            )

    with balanced(server.start(), before=before) as url:
        alice = world.clone(url, 'alice')
        node = alice.commit('a')
        out = alice.hg_fast('push', code=255)
        assert 'as push 1' in out
        assert 'headless: temporary: the database' in out
        assert drafts(alice) == [node]
        running.execute(services, f'ALTER DATABASE {name} ALLOW_CONNECTIONS true')
        pushed.clear()
    assert 'all changesets had been pushed before' in stays(alice, [node], server.start())


@pytest.mark.slow
def test_more_roots_than_are_named(world, make_server):
    """A public changeset under the rest is named instead, as near to the tip as can be."""
    server = make_server('embedded')
    url = server.url('http')
    alice = world.clone(url, 'alice')
    heads(alice, 290, '0', 'old')
    heads(alice, 20, '2', 'new')
    expected = drafts(alice)
    stays(alice, expected, '-f')
    listed = alice.hg_fast('debugpushkey', url, 'phases').split('\n')
    assert len(listed) == 302  # and the last line's end
    assert f'{alice.node("2")}\t1' in listed
    bob = world.clone(url, 'bob')
    node = bob.commit('late')
    stays(bob, [node])
    # One of its own below all that is left out: the null revision is the last resort.
    carol = world.clone(url, 'carol')
    carol.hg_fast('update', '-q', 'null')
    heads(carol, 301, 'null', 'root')
    expected = drafts(carol)
    stays(carol, expected, '-f')
    assert f'{"0" * 40}\t1' in carol.hg_fast('debugpushkey', url, 'phases')


@pytest.mark.slow
def test_four_hundred_pushes(world, make_server):
    server = make_server('services')
    url = server.url('http')
    made = world.clone(url, 'made')
    for number in range(100):
        running_now = []
        for worker in range(4):
            name = f'clone{number}-{worker}'
            clone = world.clone(str(made.root), name)
            node = clone.commit(name)
            process = subprocess.Popen(
                [HG, 'push', '-q', url], cwd=clone.root, env=world.env, stderr=subprocess.PIPE
            )
            running_now.append((clone, node, process))
        for clone, node, process in running_now:
            _out, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            assert drafts(clone) == [node]
    assert server.changesets() == 3


@pytest.mark.slow
def test_incoming_tells_the_phases(world, make_server, transport):
    server = make_server('embedded')
    url = server.url(transport)
    bob = world.clone(url, 'bob')
    alice = world.clone(url, 'alice')
    public = alice.commit('public3')
    alice.hg_fast('phase', '--public', '.')
    draft = alice.commit('draft')
    alice.hg_fast('push')
    out = bob.hg_fast('incoming', '-q', '-r', draft, '-T', '{node} {phase}\n')
    assert out.splitlines() == [f'{public} public', f'{draft} draft']
    assert bob.hg_fast('incoming', '-q', '-T', '{phase}\n') == 'public\n'


def test_pull_by_bundle1(world, make_server, transport):
    """Where the client would not learn that a draft is one, it does not get it."""
    server = make_server('embedded')
    url = server.url(transport)
    legacy = ('--config', 'devel.legacy.exchange=bundle1')
    alice = world.clone(url, 'alice')
    alice.commit('public3')
    alice.hg_fast('phase', '--public', '.')
    node = alice.commit('draft')
    alice.hg_fast('push')
    bob = world.clone(url, 'bob', '-r', '0')
    bob.hg_fast('pull', '-q', *legacy)
    assert bob.log('all()', '{phase}\n') == ['public'] * 4
    bob.hg_fast('pull', '-q', '-r', node, *legacy)
    assert drafts(bob) == [node]
    server.sql('DELETE FROM draft_roots')
    carol = world.clone(url, 'carol')
    out = carol.hg_fast('pull', '-r', node, *legacy, code=255)
    assert 'headless: refused: a client without bundle2' in out
    assert drafts(carol) == []
    assert len(carol.log('all()')) == 4


def test_clone_of_a_draft_brings_its_bookmarks(world, make_server, transport):
    server = make_server('embedded', settings='[phases]\npublish = no\n')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    node = alice.commit('a')
    alice.hg_fast('bookmark', 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine')
    bob = world.clone(url, 'bob', '-r', node)
    assert bob.log('mine', '{node}\n') == [node]
    carol = world.clone(url, 'carol')
    carol.hg_fast('pull', '-q', '-r', node)
    assert carol.log('mine', '{node}\n') == [node]
    dave = world.clone(url, 'dave')
    assert 'no bookmarks set' in dave.hg_fast('bookmarks')
