"""A hook sees as new what is new to this server: public history and stored drafts alike."""

from __future__ import annotations

import pytest
from helpers.world import HG

#: What a hook of each kind sees as new, by an hg that it starts.
NEW = """
pretxnchangegroup.new = (printf 'pre: '; %(hg)s log -r "$HG_NODE:" -T '{desc};';
  %(hg)s log -r "$HG_NODE_LAST" -T ' to {desc}'; echo) >> %(out)s
changegroup.new = (echo post: $HG_NODE $HG_NODE_LAST) >> %(out)s
incoming.new = (echo in: $HG_NODE) >> %(out)s
prechangegroup.new = echo begins >> %(out)s
"""


@pytest.fixture
def site(world, make_server):
    """Make a server whose hooks tell what is new; the server, and what they have told since."""
    out = world.folder / 'told'

    def make(hooks=NEW):
        server = make_server('embedded')
        server.configure(
            '',
            f'[hooks]\n{hooks % {"out": out, "hg": HG}}',
        )
        return server

    def told():
        found = out.read_text().splitlines() if out.exists() else []
        out.write_text('')
        return found

    return make, told


@pytest.mark.parametrize(
    'transport', ['ssh', pytest.param('http', marks=pytest.mark.slow)]
)
def test_a_stack_that_grows(transport, world, site):
    make, told = site
    server = make()
    alice = world.clone(server.url(transport), 'alice')
    for name in ('first', 'second', 'third'):
        node = alice.commit(name)
        alice.hg_fast('push', '-f')
        assert told() == [
            'begins',
            f'pre: {name}; to {name}',
            f'post: {node} {node}',
            f'in: {node}',
        ]


def test_nothing_new(transport, world, site):
    make, told = site
    server = make()
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('a')
    alice.hg_fast('push')
    told()
    assert 'had been pushed before' in alice.hg_fast('push')
    assert told() == []


@pytest.mark.slow
def test_branches(transport, world, site):
    """What is sent first need not be stored: it comes after what is."""
    make, told = site
    server = make()
    alice = world.clone(server.url(transport), 'alice')
    base = alice.commit('base')
    alice.commit('new', 'x' * 2000)
    alice.hg_fast('update', '-q', base)
    alice.commit('stored', 'y' * 2000)
    stored = alice.commit('stored2', 'z' * 2000)
    alice.hg_fast('push', '-f', '-r', '.')
    assert told()[1] == 'pre: base;stored;stored2; to stored2'
    alice.hg_fast('update', '-q', 'desc("new")')
    new = [alice.commit('new2'), alice.node('.^')]
    out = alice.hg_fast('push', '-f')  # all heads
    assert 'stored 2 changesets' in out
    assert told() == [
        'begins',
        'pre: new;new2; to new2',
        f'post: {new[1]} {new[0]}',
        f'in: {new[1]}',
        f'in: {new[0]}',
    ]
    # What is stored is whole, wherever it stood.
    bob = world.clone(server.url(transport), 'bob')
    bob.hg_fast('pull', '-r', new[0], '-r', stored)
    bob.verified()
    assert bob.facts('draft()') == alice.facts('draft()')


@pytest.mark.slow
def test_same_file_in_both(transport, world, site):
    """A file that a stored changeset and a new one introduce alike is the stored one's."""
    make, told = site
    server = make()
    alice = world.clone(server.url(transport), 'alice')
    base = alice.commit('base')
    alice.commit('same', 'content', '-m', 'new')
    new = alice.node()
    alice.hg_fast('update', '-q', base)
    alice.commit('same', 'content', '-m', 'stored')
    stored = alice.node()
    alice.hg_fast('push', '-f', '-r', '.')
    told()
    alice.hg_fast('push', '-f')
    assert told()[1] == 'pre: new; to new'
    for node in (new, stored):
        bob = world.clone(server.url(transport), f'bob-{node[:4]}')
        bob.hg_fast('pull', '-r', node)
        bob.verified()
        assert bob.facts('draft()') == alice.facts(f'{base}::{node}')


@pytest.mark.slow
def test_of_somebody_else(transport, world, site):
    """A draft that bob was allowed to push is not judged again when alice builds on it."""
    make, told = site
    server = make(
        hooks=NEW + 'pretxnchangegroup.policy = '
        '%(hg)s log -r "$HG_NODE:" -T "{desc}\\n" | grep -v OVERRIDE | grep . && exit 1; exit 0\n'
    )
    bob = world.clone(server.url(transport), 'bob')
    bob.commit('a', None, '-m', 'not allowed OVERRIDE')
    bob.hg_fast('push')
    alice = world.clone(server.url(transport), 'alice')
    alice.hg_fast('pull', '-u', '-r', bob.node())
    alice.commit('b', None, '-m', 'not allowed')
    out = alice.hg_fast('push', code=255)
    assert 'pretxnchangegroup.policy hook exited with status 1' in out
    alice.hg_fast('commit', '--amend', '-m', 'mine OVERRIDE')
    told()
    alice.hg_fast('push')
    assert told()[1] == 'pre: mine OVERRIDE; to mine OVERRIDE'


@pytest.mark.slow
def test_stored_drafts_that_become_public(transport, world, site):
    """Nothing of them is new; what is public and new is, beside a draft."""
    make, told = site
    server = make()
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('a')
    alice.hg_fast('push')
    told()
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push')
    assert told() == []
    assert server.log('public() and desc(a)', '{desc}\n') == ['a']
    alice.publish('b')
    alice.commit('c')
    alice.hg_fast('push')
    assert told()[:2] == ['begins', 'pre: b;c; to c']

