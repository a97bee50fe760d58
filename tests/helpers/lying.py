"""Servers and pushes for a client that lies, and what becomes of them."""

from __future__ import annotations

import shutil
import time

import pytest

from helpers.embedded import objects
from helpers.forge import Forged, post
from helpers.world import Server, World


@pytest.fixture
def alice(world, make_server):
    """Somebody's clone of a server."""
    server = make_server('embedded')
    made = world.clone(server.start(), 'alice')
    made.server = server
    return made


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """One that keeps nothing of what it is sent."""
    world = World(tmp_path_factory.mktemp('hostile'))
    made = Server(world)
    yield made
    made.stop()
    world.stop()
    assert 'Traceback' not in made.errors()


@pytest.fixture(scope='module')
def honest(server):
    """What somebody would push to it: a changeset with a file."""
    clone = server.world.clone(server.start(), 'honest')
    clone.commit('a', 'content', '-d', '7 0')
    return Forged(clone.root)


@pytest.fixture
def forged(honest):
    """The same, to be changed."""
    return honest.copy()


def kept(server):
    """What a push may add to."""
    changelog = server.root / '.hg' / 'store' / '00changelog.i'
    return changelog.stat().st_size, sorted(objects(server))


def refuse(server, forged, words, kind='refused', **options):
    """The push ends with one line, and nothing of it is kept."""
    before = kept(server)
    answer = post(server.start(), forged if isinstance(forged, bytes) else forged.bundle(**options))
    assert answer.count('headless: ') == 1, answer
    assert f'headless: {kind}: ' in answer, answer
    assert words in answer, answer
    assert kept(server) == before
    if objects(server):
        assert server.hg('admin::headless-verify', '--full')


def accept(world, server, forged, name='bob', **options):
    """The push is stored, and whoever pulls it gets all of it."""
    answer = post(server.start(), forged.bundle(**options))
    assert 'headless: stored' in answer, answer
    server.hg('verify', '-q')
    shutil.rmtree(world.folder / name, ignore_errors=True)
    bob = world.clone(server.start(), name, '-r', forged.head)
    bob.verified()
    return bob


def failed_push(server, clone, kind, *, public=3):
    """One line, of a kind; the server as it was, the client's draft a draft."""
    started = time.monotonic()
    out = clone.hg('push', '-f', code=255)
    assert time.monotonic() - started < 35
    lines = [line for line in out.splitlines() if 'headless:' in line]
    assert len(lines) == 1, out
    assert f'headless: {kind}: ' in lines[0], out
    assert server.changesets() == public
    assert all(line.endswith('draft') for line in clone.log('draft()'))
    return lines[0]
