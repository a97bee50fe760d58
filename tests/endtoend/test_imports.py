"""A process that has nothing to do with drafts imports nothing; the command server of chg does."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile

import pytest
from helpers.world import HG


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
    alice.hg_fast('pull')
    alice.hg_fast('incoming', code=1)
    alice.hg_fast('identify', '--id', 'default')
    seen = imported.since()
    assert 'mercurial.wireprotoserver' in seen
    assert seen & {'sqlalchemy', 'boto3', 'botocore', 'alembic', 'psycopg2'} == set()
    # Clients ask for the list of bookmarks first, whatever they push.
    alice.hg_fast('push', code=1)
    assert 'sqlalchemy' in imported.since()
    server.configure('listed-bookmarks = 0\n')
    imported.watch(server)
    alice.hg_fast('push', code=1)
    assert 'sqlalchemy' not in imported.since()
    alice.commit('a')
    alice.hg_fast('push')
    assert 'sqlalchemy' in imported.since()


def test_the_command_server_of_chg_imports_for_its_children(world, make_server):
    server = make_server('services')
    server.hg_fast('admin::headless-init')
    imported = Imported(world, server)
    server.hg_fast('identify')
    assert 'sqlalchemy' not in imported.since()
    server.hg('identify', env={'CHGINTERNALMARK': ''})
    assert {'sqlalchemy', 'psycopg2', 'botocore'} <= imported.since()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('chg') is None, reason='chg is not installed')
def test_push_through_chg(world, make_server):
    server = make_server('services')
    server.hg_fast('admin::headless-init')
    with tempfile.TemporaryDirectory() as folder:  # the path of a socket has to be short
        chg = world.folder / 'chg'
        chg.write_text(f'#!/bin/sh\nCHGHG={HG} CHGSOCKNAME={folder}/s exec chg "$@"\n')
        chg.chmod(0o755)
        alice = world.clone(server.url('ssh'), 'alice')
        for name in ('a', 'b', 'c'):
            node = alice.commit(name)
            out = alice.hg_fast('push', '--remotecmd', chg)
            assert 'stored 1 changeset' in out
        bob = world.clone(server.url('ssh'), 'bob')
        bob.hg_fast('pull', '-r', node, '--remotecmd', chg)
        assert len(bob.log('draft()')) == 3
        subprocess.run([chg, '--kill-chg-daemon'], env=world.env, check=True)


_REQUESTS = """
import gc, io, sys
from mercurial import extensions, ui as uis
from mercurial.hgweb import hgweb
ui = uis.ui.load()
for name in (b'hgext_headless.push', b'hgext_headless.web'):
    ui.setconfig(b'extensions', name, b'')
extensions.loadall(ui)
for number in range(4):
    # As after each public push, and in an hgwebdir: the repository is opened anew.
    app = hgweb(sys.argv[1].encode(), baseui=ui)
    page = b''.join(app({
        'REQUEST_METHOD': 'GET', 'SCRIPT_NAME': '', 'PATH_INFO': '/rev/' + sys.argv[2],
        'QUERY_STRING': '', 'SERVER_NAME': 'x', 'SERVER_PORT': '80',
        'SERVER_PROTOCOL': 'HTTP/1.1', 'REMOTE_ADDR': '127.0.0.1', 'wsgi.version': (1, 0),
        'wsgi.url_scheme': 'http', 'wsgi.input': io.BytesIO(), 'wsgi.errors': sys.stderr,
        'wsgi.multithread': False, 'wsgi.multiprocess': False, 'wsgi.run_once': False,
    }, lambda status, headers: None))
    assert sys.argv[2].encode() in page
    if number == 1:
        frozen = gc.get_freeze_count()
assert gc.get_freeze_count() <= frozen, (frozen, gc.get_freeze_count())
"""


def test_requests_that_have_ended_are_freed(world, make_server):
    """They are reference cycles, with the texts that they have read: garbage must be looked for."""
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    node = alice.commit('draft')
    alice.hg('push', '-q')
    command = [sys.executable, '-c', _REQUESTS, server.root, node]
    done = subprocess.run(command, env=world.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


_SERVED = """
import sys
from mercurial import demandimport
demandimport.enable()
from mercurial.hgweb import hgweb
app = hgweb(sys.argv[1].encode())
assert not demandimport.isenabled()
assert 'sqlalchemy' in sys.modules or sys.argv[2] == 'hgwebdir'
"""


@pytest.mark.parametrize('kind', ['hgweb', 'hgwebdir'])
def test_under_a_wsgi_server_modules_are_loaded_while_there_is_one_thread(world, make_server, kind):
    """hgweb reads the hgrc, and so loads the extensions, while it is being made."""
    server = make_server('embedded')
    served = server.root
    if kind == 'hgwebdir':
        served = world.folder / 'web.conf'
        served.write_text(f'[paths]\ntry = {server.root}\n')
        with open(world.folder / 'hgrc', 'a') as hgrc:
            hgrc.write('[extensions]\nhgext_headless.web =\n')  # as docs/operating.rst says
    command = [sys.executable, '-c', _SERVED, served, kind]
    done = subprocess.run(command, env=world.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
