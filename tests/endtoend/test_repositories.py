"""Several repositories in one database: listed, kept in order, dropped."""

from __future__ import annotations

import json

import pytest
from helpers.world import Server

from hgext_headless.catalog import engine, epochs, pushlog
from hgext_headless.catalog.statements import Session


@pytest.fixture
def try_(world, settings):
    made = Server(world, 'try', settings)
    made.hg_fast('admin::headless-init')
    yield made
    made.stop()


@pytest.fixture
def other(world, settings, try_):
    made = Server(world, 'other', settings)
    hgrc = made.root / '.hg' / 'hgrc'
    hgrc.write_text(hgrc.read_text().replace('repository = try', 'repository = other'))
    made.hg_fast('admin::headless-init')
    yield made
    made.stop()


def push(world, server, name: str) -> str:
    """A public changeset with a bookmark, and a draft with another, with a marker."""
    clone = world.clone(server.url('path'), f'{name}-clone')
    clone.commit(f'{name}-public')
    clone.hg_fast('phase', '--public', '.')
    clone.hg_fast('bookmark', f'{name}-b')
    draft = clone.commit(f'{name}-draft')
    clone.hg_fast('push', '-B', f'{name}-b')
    return draft


def listed(server) -> dict[str, tuple[int, int]]:
    (stats,) = json.loads(server.hg_fast('admin::headless-stats', '-T', 'json'))
    return {
        found['name']: (found['last_push_id'], found['objects']) for found in stats['repositories']
    }


def test_list(world, try_, other):
    push(world, try_, 'a')
    assert listed(other) == {'try': (1, 2), 'other': (0, 0)}
    out = try_.hg_fast('admin::headless-stats')
    _head, _title, table = out.partition('repositories of the database:\n')
    _columns, first, second = table.splitlines()
    assert first.split()[:3] == ['other', '0', 'never']
    assert second.split()[0] == 'try' and second.split()[3] == '2'


@pytest.mark.slow
def test_housekeeping(world, try_, other):
    push(world, try_, 'a')
    push(world, other, 'b')
    out = try_.hg('admin::headless-housekeeping', '--older-than', '0s', try_.root, other.root)
    assert out.count('expired 1 draft') == 2 and out.count('all is well') == 2
    out = try_.hg_fast('admin::headless-housekeeping')
    assert 'the database has a repository "other" too' in out
    # This is what systemd's unit runs.
    assert try_.hg_fast('admin::headless-housekeeping', '-q') == out.splitlines(True)[-1]
    assert try_.hg_fast('admin::headless-housekeeping', '-q', try_.root, other.root) == ''
    out = try_.hg('admin::headless-housekeeping', '/nowhere', try_.root, code=1)
    assert 'repository /nowhere not found' in out and 'all is well' in out


def test_housekeeping_goes_on(world, try_):
    """After any error of one of its commands."""
    broken = world.folder / 'broken.py'
    broken.write_text(
        'import errno\n'
        'from hgext_headless.admin import gc\n'
        'def run(*args, **opts):\n'
        "    raise OSError(errno.EROFS, 'Read-only file system')\n"
        'gc.run = run\n'
    )
    args = ('--config', f'extensions.broken={broken}', 'admin::headless-housekeeping')
    out = try_.hg(*args, '--older-than', '90d', code=1)
    expired, failed, verified = out.index('expired 0'), out.index('Read-only'), out.index('is well')
    assert expired < failed < verified


def test_drop(world, try_, other, monkeypatch):
    """Nothing of it is left, the other one is whole; killed half way it goes on."""
    push(world, try_, 'a')
    draft = push(world, other, 'b')
    assert 'within the last day' in other.hg_fast('admin::headless-drop', 'try', code=255)
    assert 'no repository "nothing"' in other.hg_fast('admin::headless-drop', 'nothing', code=255)
    assert 'would drop "try": 1 push, 2 objects' in other.hg_fast(
        'admin::headless-drop', 'try', '--force', '-n'
    )
    monkeypatch.setattr(epochs, '_ROWS', 1)
    database = engine.open_database(other.configured('database'))
    for _ in range(4):
        with database.writing() as connection:
            assert epochs.drop_rows(Session(connection, 'try')) == 1
    database._engine.dispose()
    assert 'dropped "try"' in other.hg_fast('admin::headless-drop', 'try', '--force')
    assert list(listed(other)) == ['other']
    assert 'all is well' in other.hg_fast('admin::headless-verify', '--full')
    bob = world.clone(other.url('path'), 'bob')
    bob.hg_fast('pull', '-r', draft)


def test_begun_again(world, try_, other):
    """What was dropped is missed nowhere, and not counted; bookmarks are logged again."""
    push(world, try_, 'a')
    bob = world.clone(try_.url('path'), 'bob')
    bob.hg_fast('bookmark', 'there')
    bob.hg_fast('push', '-B', 'there', code=1)
    try_.hg_fast('admin::headless-follow')
    database = engine.open_database(other.configured('database'))

    def drop() -> None:
        out = other.hg_fast('admin::headless-drop', 'try', '--force')
        assert 'dropped "try": 1 push, 2 objects' in out
        try_.hg_fast('admin::headless-init')
        assert counted() == 0

    def counted() -> int:
        with database.reading() as connection:
            session = Session(connection, 'try')
            return pushlog.count(session, pushlog.last_push_id(session))

    drop()
    [line, *_summary] = try_.hg_fast('admin::headless-verify', '--repair').splitlines()
    assert line.startswith('bookmark: there: is at ') and line.endswith(' (repaired)')
    assert 'all is well' in try_.hg_fast('admin::headless-verify')
    push(world, try_, 'b')
    assert counted() == 1
    assert 'all is well' in try_.hg_fast('admin::headless-verify')
    drop()  # of ids above a million
    database._engine.dispose()
