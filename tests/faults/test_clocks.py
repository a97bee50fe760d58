"""Clocks of servers that are wrong: the database's clock decides."""

from __future__ import annotations

import time

import pytest
from conftest import fresh
from helpers.fleet import Fleet, sql
from helpers.web import fetch_json

DAY = 86400
#: Sets the clock of a process.
CLOCK = '''
import time
time_ = time.time
time.time = lambda: time_() + {seconds}
'''


@pytest.fixture
def fleet(world, services):
    made = Fleet(world, fresh(world, services))
    yield made
    made.stop()


def wrong_clock(world, server, seconds):
    """Restart a server with a clock that is off by ``seconds``."""
    path = world.folder / f'clock{seconds}.py'
    path.write_text(CLOCK.format(seconds=seconds))
    server.stop()
    settings = server.root / '.hg' / 'hgrc'
    settings.write_text(settings.read_text() + f'[extensions]\nclock = {path}\n')


def test_push_to_a_server_whose_clock_is_slow(fleet, world):
    """It is as old as the database says, for whoever expires."""
    wrong_clock(world, fleet.b, -200 * DAY)
    alice = world.clone(fleet.a.url('http'), 'alice')
    node = alice.commit('draft')
    alice.hg_fast('bookmark', '-r', node, 'mark')
    assert 'as push 1' in alice.hg_fast('push', '-B', 'mark', fleet.b.start())
    shown = fetch_json(fleet.a.start() + 'json-pushes')
    assert abs(shown['1']['date'] - time.time()) < 60
    assert 'expired 0 drafts' in fleet.a.hg_fast('admin::headless-expire', '--older-than', '90d')
    for table, column in (('bundles', 'created'), ('bookmarks', 'updated')):
        [(found,)] = sql(fleet.a, f'SELECT {column} FROM {table}')
        assert abs(found - time.time()) < 60
    assert "clock" in fleet.b.hg_fast('admin::headless-doctor', code=None)


@pytest.mark.slow
def test_expire_and_gc_on_a_server_whose_clock_is_fast(fleet, world):
    alice = world.clone(fleet.a.url('http'), 'alice')
    alice.commit('draft')
    alice.hg_fast('push')
    wrong_clock(world, fleet.b, 200 * DAY)
    assert 'expired 0 drafts' in fleet.b.hg_fast('admin::headless-expire', '--older-than', '90d')
    sql(fleet.a, 'DELETE FROM bundle_changesets')
    sql(fleet.a, 'DELETE FROM bundles')
    assert '.hg (' not in fleet.b.hg_fast('admin::headless-gc', '--grace', '90d')
    assert 'rebuilt 1 bundle' in fleet.a.hg_fast('admin::headless-rebuild')


@pytest.mark.slow
def test_limit_on_a_server_whose_clock_is_fast(fleet, world):
    """Within an hour is within an hour."""
    wrong_clock(world, fleet.b, 2 * 3600)
    for server in (fleet.a, fleet.b):
        settings = server.root / '.hg' / 'hgrc'
        settings.write_text(settings.read_text() + '[headless]\nlimit-pushes = 1\n')
    alice = world.clone(fleet.a.url('http'), 'alice')
    alice.commit('one')
    alice.hg_fast('push')
    alice.commit('two')
    assert 'headless: refused' in alice.hg_fast('push', fleet.b.start(), code=255)
