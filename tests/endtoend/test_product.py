"""What an operator finds: texts, commands, the quickstart; and what stock users don't notice."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import sqlalchemy
from web import fetch_json
from world import HG

ROOT = Path(__file__).parent.parent.parent


def test_hgrc_example_shows_every_item():
    from hgext_headless import config

    text = (ROOT / 'hgrc.example').read_text().partition('[headless]')[2]
    text = text.partition('[headless-links]')[0]
    shown = dict(re.findall(r'^#?([a-z0-9-]+) = (.*)$', text, re.M))
    assert set(shown) == {item.decode() for item, _default in config.ITEMS}
    for item, default in config.ITEMS:
        if default not in (None, []):
            text_of = default.decode() if isinstance(default, bytes) else str(default)
            assert shown[item.decode()] == text_of


def test_help(world, make_server):
    from hgext_headless import config

    server = make_server('embedded')
    assert 'Headless Repositories' in server.hg('help', 'headless')
    text = server.hg('help', 'config.headless')
    for item, _default in config.ITEMS:
        assert f'"{item.decode()}"' in text
    assert 'headless-init' in server.hg('help', 'admin::headless-init')


@pytest.mark.parametrize('extensions', [('push', 'web'), ('web', 'push'), ('push',), ('web',)])
def test_no_warnings(world, make_server, extensions):
    server = make_server('embedded', extensions=extensions)
    assert server.hg('log', '-r', 'null', '-T', 'x', '--config', 'devel.all-warnings=yes') == 'x'


def test_ordinary_repository(world):
    """With the extensions loaded for all, a repository without settings is stock's."""
    with open(world.env['HGRCPATH'], 'a') as hgrc:
        hgrc.write('[extensions]\nhgext_headless.push =\nhgext_headless.web =\n')
    server = world.init('server')
    server.commit('a')
    server.hg('phase', '--public', '.')
    alice = world.clone(str(server.root), 'alice')
    (server.root / '.hg' / 'hgrc').write_text('[phases]\npublish = no\n')
    tip = alice.commit('b')
    alice.hg('push')
    assert server.log('tip') == [f'{tip} draft']
    assert 'no changes found' in alice.hg('push', code=1)
    assert not (server.root / '.hg' / 'headless').exists()
    assert 'no [headless] settings' in server.hg('admin::headless-init', code=255)


def test_removed_settings(world, make_server):
    """They are told of once, and not to clients; pushes go on."""
    server = make_server('embedded', 'metrics-dir = /nowhere\n')
    lines = server.hg('admin::headless-doctor', code=None).splitlines()
    [line] = [line for line in lines if 'metrics-dir' in line]
    assert line.startswith('warning: headless.metrics-dir was removed: ')
    clone = world.clone(server.url('ssh'), 'clone')
    clone.commit('draft')
    assert 'was removed' not in clone.hg('push')
    server.configure('metrics-dir =\n')
    assert 'metrics-dir' not in server.hg('admin::headless-stats')


def test_removed_guards(world, make_server, monkeypatch):
    """What was closed by a setting that is gone stays closed."""
    hide = world.folder / 'guard.py'
    hide.write_text(
        'from hgext_headless import config\n'
        "config.REMOVED[b'closed'] = config.Removed('set it elsewhere', is_guard=True)\n"
    )
    server = make_server('embedded', 'closed = yes\n')
    server.configure('closed = yes\n', f'[extensions]\nguard = {hide}\n')
    clone = world.clone(str(world.init('other').root), 'clone')
    clone.commit('draft')
    refusal = 'headless: misconfigured: headless.closed was removed: set it elsewhere'
    for out in (
        server.hg('admin::headless-stats', code=255),
        clone.hg('push', '-f', server.url('ssh'), code=255),
    ):
        assert refusal in out
    assert not (server.root / '.hg' / 'headless').exists()


class Imported:
    """What the processes of a server import; each says it when it ends."""

    def __init__(self, world, server):
        self._folder = world.folder / 'modules'
        self._folder.mkdir()
        self._spy = world.folder / 'spy.py'
        self._spy.write_text(
            'import atexit, os, sys\n'
            'def write():\n'
            f'    with open({str(self._folder)!r} + "/%d" % os.getpid(), "w") as out:\n'
            '        out.write("\\n".join(sys.modules))\n'
            'atexit.register(write)\n'
        )
        self.watch(server)

    def watch(self, server):
        with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
            hgrc.write(f'[extensions]\nspy = {self._spy}\n')

    def since(self) -> set[str]:
        found: set[str] = set()
        for path in self._folder.iterdir():
            found.update(path.read_text().split('\n'))
            path.unlink()
        return found


def test_no_imports_without_drafts(world, make_server):
    server = make_server('embedded')
    imported = Imported(world, server)
    alice = world.clone(server.url('ssh'), 'alice')
    alice.hg('pull')
    alice.hg('incoming', code=1)
    alice.hg('identify', '--id', 'default')
    seen = imported.since()
    assert 'mercurial.wireprotoserver' in seen
    assert seen & {'sqlalchemy', 'boto3', 'botocore', 'alembic', 'psycopg2'} == set()
    # Clients ask for the list of bookmarks first, whatever they push.
    alice.hg('push', code=1)
    assert 'sqlalchemy' in imported.since()
    server.configure('listed-bookmarks = 0\n')
    imported.watch(server)
    alice.hg('push', code=1)
    assert 'sqlalchemy' not in imported.since()
    alice.commit('a')
    alice.hg('push')
    assert 'sqlalchemy' in imported.since()


def test_the_command_server_of_chg_imports_for_its_children(world, make_server):
    server = make_server('services')
    server.hg('admin::headless-init')
    imported = Imported(world, server)
    server.hg('identify')
    assert 'sqlalchemy' not in imported.since()
    server.hg('identify', env={'CHGINTERNALMARK': ''})
    assert {'sqlalchemy', 'psycopg2', 'boto3'} <= imported.since()


@pytest.mark.skipif(shutil.which('chg') is None, reason='chg is not installed')
def test_push_through_chg(world, make_server):
    server = make_server('services')
    server.hg('admin::headless-init')
    with tempfile.TemporaryDirectory() as folder:  # the path of a socket has to be short
        chg = world.folder / 'chg'
        chg.write_text(f'#!/bin/sh\nCHGHG={HG} CHGSOCKNAME={folder}/s exec chg "$@"\n')
        chg.chmod(0o755)
        alice = world.clone(server.url('ssh'), 'alice')
        for name in ('a', 'b', 'c'):
            node = alice.commit(name)
            out = alice.hg('push', '--remotecmd', chg)
            assert 'stored 1 changeset' in out
        bob = world.clone(server.url('ssh'), 'bob')
        bob.hg('pull', '-r', node, '--remotecmd', chg)
        assert len(bob.log('draft()')) == 3
        subprocess.run([chg, '--kill-chg-daemon'], env=world.env, check=True)


@pytest.mark.parametrize('kind', ['sqlite', 'postgres'])
def test_migrations_make_the_models(world, make_server, kind):
    import sqlalchemy
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from hgext_headless.catalog import schema

    server = make_server('services' if kind == 'postgres' else 'embedded')
    server.hg('admin::headless-init')
    url = re.search('^database = (.*)', (server.root / '.hg/hgrc').read_text(), re.M)
    catalog = server.root / '.hg' / 'headless' / 'catalog.sqlite'
    engine = sqlalchemy.create_engine(url.group(1) if url else f'sqlite:///{catalog}')
    with engine.connect() as connection:
        # No model can tell what the table of words is: see the tests of search.
        opts = {
            'compare_server_default': False,
            'include_name': lambda name, *rest: not str(name).startswith('changeset_words'),
        }
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


@pytest.mark.parametrize('options', [[], ['--two']])
def test_quickstart(world, options):
    """The commands that it prints can be pasted, and work."""
    quickstart = os.path.join(os.path.dirname(sys.executable), 'headless-quickstart')
    process = subprocess.Popen(
        [quickstart, *options, 'quick'],
        cwd=world.folder,
        env=world.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith('The draft is not'):
                break
        commands = [line for line in lines if line.startswith('  ')]
        assert len(commands) == 8
        (url,) = set(re.findall(r'http://127\.0\.0\.1:[0-9]+/\w*', ''.join(commands)))
        world.wait_for(url)
        done = subprocess.run(
            ['sh', '-ec', ''.join(commands)],
            cwd=world.folder,
            env={**world.env, 'HGRCPATH': '/dev/null'},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done
        assert 'as push 1' in done.stdout
        assert done.stdout.count('a draft') == 1
        if options:
            other = url.replace('/quickstart', '/second')
            listed = world.hg('-R', 'quick/server2', 'admin::headless-list')
            assert [line.split()[:2] for line in listed.splitlines()] == [
                ['quickstart', '1'], ['second', '0']
            ]
            assert fetch_json(f'{other}/json-pushes') == {}
    finally:
        for _ in range(10):  # "timeout" of coreutils sends two, an impatient user more
            process.terminate()
        assert process.wait(timeout=30) == 0
    # And its server is gone.
    port = int(re.search(r'127\.0\.0\.1:([0-9]+)/', ''.join(lines)).group(1))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', port))
    assert (world.folder / 'quick' / 'server' / '.hg' / 'store' / 'requires').read_text().count(
        'headless\n'
    ) == 1
    again = subprocess.run(
        [quickstart, 'quick'], cwd=world.folder, env=world.env, capture_output=True, text=True
    )
    assert again.returncode == 2
    assert 'not empty' in again.stderr


def test_quickstart_that_fails_or_is_interrupted(world) -> None:
    """It says so without a traceback, and its server is gone."""
    quickstart = os.path.join(os.path.dirname(sys.executable), 'headless-quickstart')
    (world.folder / 'file').write_text('')
    for name in ('file', 'file/quick'):
        done = subprocess.run(
            [quickstart, name], cwd=world.folder, env=world.env, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stderr.endswith(f'headless-quickstart: error: {name}: Not a directory\n')

    def started(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [quickstart, name],
            cwd=world.folder,
            env=world.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    early = started('early')
    while not (world.folder / 'early').exists():
        time.sleep(0.01)
    deadline = time.monotonic() + 30
    while early.poll() is None and time.monotonic() < deadline:
        # Ignored until it serves, if it was ignored where the tests were started (with "&").
        early.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            early.wait(1)
    assert early.returncode in (130, 0)  # while it made the repository, or once it served
    assert early.communicate()[1] in ('', 'killed!\n')  # the latter is hg's word at SIGTERM
    process = started('quick')
    url = next(filter(None, (re.search(r'http://\S+', line) for line in process.stdout))).group()
    world.wait_for(url)
    process.send_signal(signal.SIGHUP)  # its terminal is closed
    process.communicate(timeout=30)
    assert process.returncode == 0


FIRST_SCHEMA = """\
DROP TABLE public_log
DROP TABLE public_history
DROP TABLE public_bookmarks
DROP TABLE last_runs
DROP TABLE announcements
ALTER TABLE pushes DROP COLUMN size
DROP TABLE changeset_words
DROP VIEW audit_log
DROP TABLE compatibility
DROP TABLE leases
ALTER TABLE pushes DROP COLUMN listed
ALTER TABLE repositories DROP COLUMN imported_pushes
DROP TABLE draft_roots
CREATE TABLE revisions (node INTEGER)
DROP TABLE push_branches
DROP TABLE marker_nodes
DROP TABLE markers
DROP TABLE tombstones
DROP TABLE doomed
DROP TABLE audit
DROP INDEX ix_bookmarks_repository_id_updated
DROP INDEX ix_bookmarks_repository_id_node
DROP INDEX ix_bundles_repository_id_head
DROP INDEX ix_bundles_repository_id_created
ALTER TABLE bookmarks DROP COLUMN updated
ALTER TABLE repositories DROP COLUMN importing_push_id
ALTER TABLE repositories DROP COLUMN imported_push_id"""


def test_upgrade_of_the_schema(world, make_server, backend):
    """From the first one, with pushes in it."""
    server = make_server(backend)
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a')
    alice.hg('branch', '-q', 'feature')
    alice.commit('b')
    alice.hg('push', '-q', '--new-branch')
    hgrc = (server.root / '.hg' / 'hgrc').read_text()
    configured = re.search(r'^database = (.*)$', hgrc, re.M)
    embedded = f'sqlite:///{server.root}/.hg/headless/catalog.sqlite'
    engine = sqlalchemy.create_engine(configured.group(1) if configured else embedded)
    from hgext_headless.catalog import schema

    read = sqlalchemy.text('SELECT branch, push_id FROM push_branches ORDER BY branch')

    def rows():
        with engine.begin() as connection:
            return [(bytes(branch), push_id) for branch, push_id in connection.execute(read)]

    before = rows()
    assert before == [(b'default', 1), (b'feature', 1)]
    world.restart()  # an upgrade of code that has seen the new schema is none
    with engine.begin() as connection:
        if backend == 'embedded':
            connection.execute(sqlalchemy.text('DROP TRIGGER changeset_words_deleted'))
        for statement in FIRST_SCHEMA.split('\n'):
            connection.execute(sqlalchemy.text(statement))
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '0001'"))
    alice.commit('c')
    # By a process of its own: one that runs has seen the schema.
    assert 'schema of the database is older' in alice.hg('push', '-f', '-r', '.', code=255, env={})
    out = server.hg('admin::headless-init')
    assert f'upgraded the schema from 0001 to {schema.REVISION}' in out
    assert 'up to date' in server.hg('admin::headless-init')
    assert rows() == before
    alice.hg('push', '-q', '-f', '-r', '.')
    assert rows() == [*before, (b'feature', 2)]
    engine.dispose()
