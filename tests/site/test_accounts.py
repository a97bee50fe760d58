"""A repository that a group shares: an account for each person, as ssh wrappers have it."""

from __future__ import annotations

import os
import shutil
import stat

import pytest


@pytest.fixture
def umask():
    """That of an account which gives nobody else anything."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_what_one_writes_the_next_one_may(world, make_server, umask):
    server = make_server('embedded')
    shutil.rmtree(server.root / '.hg' / 'headless')
    before = {server.root, *server.root.rglob('*')}
    for path in before:
        path.chmod(0o2770 if path.is_dir() else 0o660)
    server.hg('admin::headless-init')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.publish('public')
    node = alice.commit('draft')
    alice.hg('push')
    world.clone(server.start(), 'bob', '-r', node)  # by a link, which is signed
    server.hg('admin::headless-gc')
    made = set(server.root.rglob('*')) - before
    assert {'catalog.sqlite', 'catalog.sqlite-wal', 'link-secret', 'headless-recorded'} <= {
        path.name for path in made
    }
    for path in made:
        mode = path.stat().st_mode
        if path.is_dir():
            assert mode & 0o2070 == 0o2070, path
        elif path.suffix != '.log':
            assert mode & stat.S_IRGRP, path
            assert mode & stat.S_IWGRP or path.suffix == '.hg', path
