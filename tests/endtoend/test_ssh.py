"""The process that serves one client over ssh."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator

import pytest
import sqlalchemy
from helpers.world import HG

ENDS = """
import atexit
FILE = {file!r}
def tell(text, open=open):
    with open(FILE, 'a') as out:
        out.write(text)
class Late:
    def __del__(self, tell=tell):
        tell('freed ')
late = Late()
atexit.register(tell, 'first ')
def reposetup(ui, repo):
    atexit.register(tell, 'last ')
"""


def test_it_ends_at_once(world, make_server):
    """After what others have registered for it; but nothing is freed one by one."""
    server = make_server('embedded')
    told = world.folder / 'told'
    (world.folder / 'ends.py').write_text(ENDS.format(file=str(told)))
    hgrc = server.root / '.hg' / 'hgrc'
    hgrc.write_text(f'[extensions]\nends = {world.folder}/ends.py\n' + hgrc.read_text())
    alice = world.clone(server.url('ssh'), 'alice')
    assert told.read_text() == 'last first '
    told.unlink()
    alice.commit('a')
    alice.hg('push')
    assert told.read_text() == 'last first '


class Session:
    """A client by hand."""

    def __init__(self, world, server) -> None:
        self.process = subprocess.Popen(
            [HG, '-R', server.root, 'serve', '--stdio'],
            env=world.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.command('hello').startswith(b'capabilities:')

    def command(self, name: str, **arguments: str) -> bytes:
        sent = f'{name}\n'
        for key, value in arguments.items():
            sent += f'{key} {len(value)}\n{value}'
        if name == 'known':
            sent += '* 0\n'
        self.process.stdin.write(sent.encode())
        self.process.stdin.flush()
        length = int(self.process.stdout.readline())
        return self.process.stdout.read(length)

    def has_loaded(self, library: str) -> bool:
        with open(f'/proc/{self.process.pid}/maps') as maps:
            return library in maps.read()

    def end(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        self.process.stdout.close()


@contextlib.contextmanager
def session(world, server) -> Iterator[Session]:
    made = Session(world, server)
    try:
        yield made
        made.end()
    finally:
        made.process.kill()


def connections(server) -> int:
    engine = sqlalchemy.create_engine(server.configured('database'))
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'hgext_headless'"
    )
    with engine.connect() as connection:
        found = connection.scalar(sqlalchemy.text(query))
    engine.dispose()
    return found


def test_a_silent_client_holds_no_connection(world, make_server):
    server = make_server('services')
    alice = world.clone(server.url('ssh'), 'alice')
    node = alice.commit('a')
    alice.hg('push', '-q')
    with session(world, server) as client:
        for _time in range(2):
            assert client.command('lookup', key=node) == f'1 {node}\n'.encode()
            deadline = time.monotonic() + 20
            while connections(server):
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.mark.parametrize('pushes', [True, False])
def test_preparation_for_a_push(world, make_server, pushes):
    """It is made while the client is silent, if the client has what public history lacks."""
    server = make_server('services', settings='listed-bookmarks = 0\n')
    node = 'ab' * 20 if pushes else server.log('tip', '{node}')[0]
    with session(world, server) as client:
        assert client.command('known', nodes=node) == (b'0' if pushes else b'1')
        deadline = time.monotonic() + (60 if pushes else 3)
        while not client.has_loaded('psycopg2') and time.monotonic() < deadline:
            time.sleep(0.1)
        assert client.has_loaded('psycopg2') == pushes
        # All the same it answers.
        assert client.command('listkeys', namespace='bookmarks') == b''
