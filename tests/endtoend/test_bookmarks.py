"""Bookmarks of drafts, with stock clients."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from helpers.web import fetch
from helpers.world import HG


def listed(alice, url: str) -> dict[str, str]:
    lines = alice.hg_fast('debugpushkey', url, 'bookmarks').splitlines()
    return dict(line.split('\t') for line in lines)


# By path: the other tests.
@pytest.mark.parametrize('transport', ['http', pytest.param('ssh', marks=pytest.mark.slow)])
def test_life_of_a_bookmark(world, make_server, transport):
    """New, moved, pulled, deleted; on drafts only, so that the repository has none of it."""
    server = make_server('services' if transport == 'http' else 'embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    bob = world.clone(url, 'bob')
    first = alice.commit('a')
    alice.hg_fast('bookmark', 'mine')
    out = alice.hg_fast('push', '-B', 'mine')
    assert 'exporting bookmark mine' in out
    assert listed(alice, url) == {'mine': first}
    assert 'adding remote bookmark mine' in bob.hg_fast('pull', '-B', 'mine')
    assert bob.log('mine') == [f'{first} draft']

    second = alice.commit('b')
    assert 'updating bookmark mine' in alice.hg_fast('push', '-B', 'mine')
    assert 'updating bookmark mine' in bob.hg_fast('pull', '-r', 'mine')
    assert bob.log('mine') == [f'{second} draft']

    alice.hg_fast('update', '-q', '-r', 'public()')
    other = alice.commit('c')
    alice.hg_fast('bookmark', '-f', 'mine')
    assert 'updating bookmark mine' in alice.hg_fast('push', '-f', '-B', 'mine')
    assert listed(alice, url) == {'mine': other}
    assert 'importing bookmark mine' in bob.hg_fast('pull', '-B', 'mine')
    assert bob.log('mine') == [f'{other} draft']

    # To a draft that is stored already, with no changeset in the push.
    alice.hg_fast('bookmark', '-f', '-r', first, 'mine')
    alice.hg_fast('push', '-B', 'mine')
    assert listed(alice, url) == {'mine': first}

    alice.hg_fast('bookmark', '-d', 'mine')
    assert 'deleting remote bookmark mine' in alice.hg_fast('push', '-B', 'mine', code=1)
    assert listed(alice, url) == {}
    assert 'remote bookmark mine not found' in bob.hg_fast('pull', '-B', 'mine', code=255)
    assert server.hg_fast('bookmarks').startswith('no bookmarks')
    assert server.changesets() == 3


def test_to_public_and_back(world, make_server):
    server = make_server('services')
    url = server.url('path')
    alice = world.clone(url, 'alice')
    draft = alice.commit('a')
    alice.hg_fast('bookmark', 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine')
    public = alice.node('last(public())')

    alice.hg_fast('bookmark', '-f', '-r', public, 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine', code=1)
    assert server.log('bookmark()', '{node} {bookmarks}\n') == [f'{public} mine']
    assert listed(alice, url) == {'mine': public}

    alice.hg_fast('bookmark', '-f', '-r', draft, 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine')
    assert server.log('bookmark()') == []
    assert listed(alice, url) == {'mine': draft}

    # The draft becomes public, and takes its bookmark with it.
    alice.hg_fast('phase', '--public', draft)
    alice.hg_fast('push', '-q')
    assert server.log('bookmark()', '{node} {bookmarks}\n') == [f'{draft} mine']
    assert listed(alice, url) == {'mine': draft}
    bob = world.clone(url, 'bob')
    assert bob.log('mine') == [f'{draft} public']
    bob.hg_fast('bookmark', '-d', 'mine')
    bob.hg_fast('push', '-q', '-B', 'mine', code=1)
    assert listed(alice, url) == {}


MOVER = """
import os, subprocess
from hgext_headless.receive import bookmarks
plan = bookmarks.plan
def planned(*args):
    found = plan(*args)
    command = os.environ.pop('RACE', '')
    if command:
        subprocess.run(command, shell=True, check=True, stdout=2)
    return found
bookmarks.plan = planned
"""


def let_others_in(world, server) -> None:
    """Run the command ``RACE`` once, after the first check of a push and before it takes a lock."""
    (world.folder / 'mover.py').write_text(MOVER)
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[extensions]\nmover = {world.folder}/mover.py\n')


def check_loser(alice, bob, url: str, first: str, theirs: str) -> None:
    """Bob moves the bookmark from ``first`` to ``theirs`` meanwhile: Alice is told."""
    race = {'RACE': f'{HG} -R {bob.root} push -q -f -B mine'}
    assert (
        'remote repository changed while pushing - please try again '
        f'(bookmark "mine" move from {first[:12]} to {theirs[:12]})'
    ) in alice.hg('push', '-f', '-B', 'mine', code=255, env=race)
    assert listed(alice, url) == {'mine': theirs}


def test_race(world, make_server):
    """Of two who move a bookmark at once, the second is told."""
    server = make_server('services')
    url = server.url('path')
    alice = world.clone(url, 'alice')
    bob = world.clone(url, 'bob')
    first = alice.commit('a')
    alice.hg_fast('bookmark', 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine')
    bob.hg_fast('pull', '-q', '-B', 'mine')
    bob.hg_fast('update', '-q', 'mine')
    theirs = bob.commit('b')
    alice.commit('c')
    # Between the check and the transaction somebody else moves it.
    let_others_in(world, server)
    check_loser(alice, bob, url, first, theirs)


@pytest.mark.slow
@pytest.mark.parametrize('phase', ['public', 'draft'])
def test_race_of_a_public_bookmark(world, make_server, phase):
    """It is checked again under the lock, and so before it leaves for a draft."""
    server = make_server('embedded')
    url = server.url('path')
    alice = world.clone(url, 'alice')
    first = alice.publish('a')
    alice.hg_fast('bookmark', 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine')
    bob = world.clone(url, 'bob')
    theirs = bob.publish('b')
    bob.hg_fast('bookmark', '-f', '-r', theirs, 'mine')
    alice.publish('c') if phase == 'public' else alice.commit('c')
    let_others_in(world, server)
    check_loser(alice, bob, url, first, theirs)
    assert server.changesets() == 5


@pytest.mark.parametrize('phase', ['public', 'draft'])
def test_race_for_a_new_name(world, make_server, phase):
    """It becomes a draft's or a public changeset's: the one would hide the other."""
    server = make_server('embedded')
    url = server.url('path')
    alice, bob = world.clone(url, 'alice'), world.clone(url, 'bob')
    if phase == 'public':
        alice.publish('a')
        theirs = bob.commit('b')
    else:
        alice.commit('a')
        theirs = bob.publish('b')
    for clone in (alice, bob):
        clone.hg_fast('bookmark', 'mine')
    let_others_in(world, server)
    race = {'RACE': f'{HG} -R {bob.root} push -q -f -B mine'}
    out = alice.hg('push', '-f', '-B', 'mine', code=255, env=race)
    assert f'(bookmark "mine" set on {theirs[:12]}, expected missing)' in out
    assert listed(alice, url) == {'mine': theirs}
    assert server.changesets() == 3 + (phase == 'draft')


def test_race_of_public_heads(world, make_server):
    """What the client knows of public history is checked again under the lock."""
    server = make_server('embedded')
    alice = world.clone(server.url('path'), 'alice')
    bob = world.clone(server.url('path'), 'bob')
    bob.publish('b')
    mine = alice.publish('a')
    let_others_in(world, server)
    race = {'RACE': f'{HG} -R {bob.root} push -q'}
    out = alice.hg('push', code=255, env=race)
    assert 'remote repository changed while pushing - please try again' in out
    assert server.changesets() == 4
    assert mine not in server.log('all()', '{node}\n')


@pytest.mark.parametrize(
    'transport', ['http', *(pytest.param(t, marks=pytest.mark.slow) for t in ('path', 'ssh'))]
)
def test_pushkey(world, make_server, transport):
    """The command of its own, as a client would not send it."""
    server = make_server('embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    first = alice.commit('a')
    second = alice.commit('b')
    alice.hg_fast('bookmark', 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine')

    def push(*args: str, code: int = 0) -> str:
        return alice.hg_fast('debugpushkey', url, 'bookmarks', *args, code=code)

    assert 'False' in push('mine', first, '', code=1)
    assert 'False' in push('mine', '', first, code=1)
    assert 'True' in push('mine', second, first)
    assert 'cannot accept divergent bookmark mine@default!' in push(
        'mine@default', '', first, code=255
    )
    assert 'abababababab, which a bookmark names, is unknown here' in push(
        'more', '', 'ab' * 20, code=255
    )
    assert 'refused: bookmark a:b' in push('a:b', '', first, code=255)
    assert listed(alice, url) == {'mine': first}


def test_legacy_exchange(world, make_server):
    server = make_server('embedded')
    url = server.url('http')
    legacy = ('--config', 'devel.legacy.exchange=bookmarks')
    alice = world.clone(url, 'alice')
    first = alice.commit('a')
    alice.hg_fast('bookmark', 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine', *legacy)
    second = alice.commit('b')
    alice.hg_fast('push', '-q', *legacy)
    assert listed(alice, url) == {'mine': second} != {'mine': first}
    alice.hg_fast('bookmark', '-d', 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine', *legacy, code=1)
    assert listed(alice, url) == {}


def test_few_are_listed(world, make_server):
    """The newest; the others are found by `pull -r`."""
    server = make_server('embedded', 'listed-bookmarks = 2\n')
    url = server.url('path')
    alice = world.clone(url, 'alice')
    alice.commit('a')
    names = [f'b{number}' for number in range(4)]
    alice.hg_fast('bookmark', *names)
    alice.hg_fast('push', '-q', *(arg for name in names for arg in ('-B', name)))
    assert sorted(listed(alice, url)) == ['b0', 'b1']
    bob = world.clone(url, 'bob')
    assert 'remote bookmark b3 not found' in bob.hg_fast('pull', '-B', 'b3', code=255)
    bob.hg_fast('pull', '-q', '-r', 'b3')
    assert bob.log('draft()') == alice.log('draft()')


@pytest.mark.slow
def test_beside_heads(world, make_server):
    """git-cinnabar before 0.7 asks for all at once, and ends at a bookmark that no head has."""
    server = make_server('embedded')
    url = server.start()
    alice = world.clone(url, 'alice')
    public = alice.node('last(public())')
    alice.commit('a')
    alice.hg('bookmark', 'mine')
    alice.hg('bookmark', '-r', public, 'public')
    alice.hg('push', '-q', '-B', 'mine', '-B', 'public')
    assert set(listed(alice, url)) == {'mine', 'public'}

    def batch(commands: str) -> bytes:
        return fetch(f'{url}?cmd=batch', **{'X-HgArg-1': urlencode({'cmds': commands})})[1]

    listing = 'listkeys namespace=bookmarks'
    answers = batch(f'branchmap ;heads ;{listing}').split(b';')
    assert answers[2] == f'public\t{public}'.encode()
    assert b'mine' in batch(listing)
