"""Limits for each user."""

from __future__ import annotations

import re

import pytest
from helpers.world import Clone, Server, World

BIG = 'x' * 3000


class Pushing:
    """Pushes some changesets, as a user, to a server."""

    def __init__(self, world: World, server: Server) -> None:
        self.server = server
        self._world = world
        self._clones: dict[str, Clone] = {}

    def __call__(self, user: str, *names: str, content: str = '', code: int = 0) -> str:
        clone = self.clone(user)
        for name in names:
            clone.commit(name, content or name)
        return clone.hg('push', '-f', '-r', '.', code=code, env={'USER': user})

    def clone(self, user: str) -> Clone:
        if user not in self._clones:
            self._clones[user] = self._world.clone(str(self.server.root), user)
        return self._clones[user]


@pytest.fixture
def pushing(make_server, world):
    """Pushes some changesets, as a user, to a server with some settings."""

    def make(settings: str) -> Pushing:
        return Pushing(world, make_server('embedded', settings))

    return make


@pytest.mark.slow
def test_pushes_within_an_hour(pushing):
    push = pushing('limit-pushes = 2\nlimit-exempt = robot\n')
    push('alice', 'a')
    push('alice', 'b')
    out = push('alice', 'c', code=255)
    assert 'refused: alice may push 2 pushes within an hour (headless.limit-pushes): again' in out
    assert re.search('UTC, in (59|60) minutes', out) and out.count('headless:') == 1
    # Others may, and those without limits.
    push('bob', 'd')
    for name in 'efg':
        push('robot', name)
    # An hour later.
    push.server.sql("UPDATE pushes SET date = date - 3601 WHERE push_id = 1")
    assert 'as push' in push('alice')
    # What brings nothing new is no push.
    assert 'had been pushed before' in push('alice')


@pytest.mark.slow
def test_what_brings_no_changeset(pushing):
    """Bookmarks and phases are stored too: such a push counts, and is counted."""
    push = pushing('limit-pushes = 3\n')
    push('alice', 'a')
    alice = push.clone('alice')
    for name in ('one', 'two'):
        alice.hg('bookmark', name)
        alice.hg('push', '-B', name, env={'USER': 'alice'})
    alice.hg('bookmark', 'three')
    out = alice.hg('push', '-B', 'three', code=255, env={'USER': 'alice'})
    assert 'refused: alice may push 3 pushes within an hour (headless.limit-pushes): again' in out
    assert 'had been pushed before' in push('alice')
    alice.hg('phase', '--public', '.')
    assert 'alice may push 3 pushes' in push('alice', code=255)
    assert push.server.changesets() == 3
    push.server.sql('UPDATE other_pushes SET date = date - 3601')
    push('alice')
    assert push.server.changesets() == 4
    alice.hg('push', '-B', 'three', code=1, env={'USER': 'alice'})  # no changes: stock's code
    assert push.server.sql('SELECT count(*) FROM other_pushes') == [(2,)]


def test_burst(pushing):
    push = pushing('limit-burst = 1\n')
    push('alice', 'a')
    out = push('alice', 'b', code=255)
    assert 'alice may push 1 push within a minute (headless.limit-burst): again at' in out
    assert re.search('UTC, in [0-9]+ seconds?\n', out)
    push.server.sql('UPDATE pushes SET date = date - 61')
    push('alice')


def test_bytes(pushing):
    push = pushing('limit-bytes = 8 KB\n')
    push('alice', 'a', content=BIG)
    out = push('alice', 'b', content=BIG + 'y', code=255)
    assert 'alice may push 8.00 KB within an hour (headless.limit-bytes): again at' in out
    # hg sends the whole stack each time.
    out = push('bob', 'c', content=BIG * 3, code=255)
    assert 'bob may push 8.00 KB within an hour (headless.limit-bytes), and this push' in out


@pytest.mark.slow
def test_stored_drafts(pushing):
    push = pushing('limit-drafts = 3\n')
    push('alice', 'a', 'b')
    out = push('alice', 'c', 'd', code=255)
    assert 'alice may have 3 drafts stored at a time (headless.limit-drafts)' in out
    push.server.hg_fast('admin::headless-expire', '--push', '1')
    assert 'headless: refused' in push('alice', code=255)  # four, with those that are gone
    push('bob', 'e', 'f', 'g')


@pytest.mark.parametrize('item', ['pushes', 'burst', 'bytes', 'drafts'])
def test_wrong_items(pushing, item):
    server = pushing(f'limit-{item} = -1\n').server
    assert f'headless.limit-{item} must not be less than 0' in server.hg_fast('log', code=255)
