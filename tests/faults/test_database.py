"""A database that hangs, that commits and does not say so, or that is PgBouncer."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.pgproxy import proxy
from helpers.web import fetch

from hgext_headless.catalog import catalog, coordination, engine


@pytest.fixture
def behind(make_server):
    """A server whose database is behind a proxy, which can fail."""
    server = make_server('services')
    hgrc = server.root / '.hg' / 'hgrc'
    url = re.search(r'^database = (.*)$', hgrc.read_text(), re.M).group(1)
    with tempfile.TemporaryDirectory(prefix='headless-proxy-') as folder:
        with proxy(Path(folder), url) as (found, through):
            hgrc.write_text(hgrc.read_text().replace(url, through))
            yield server, found


@pytest.mark.parametrize('transport', [pytest.param('http', marks=pytest.mark.slow), 'ssh'])
def test_commit_that_nobody_is_told_of(world, behind, transport):
    """Temporary; and the next push finds it stored."""
    server, database = behind
    alice = world.clone(server.url(transport), 'alice')
    node = alice.commit('a')
    database.cut_commits = 1
    out = alice.hg_fast('push', code=255)
    assert out.count('headless: ') == 1 and 'headless: temporary: ' in out, out
    assert alice.log('tip')[0].endswith('draft')
    assert 'all changesets had been pushed before' in alice.hg_fast('push')
    assert alice.log(node) == [f'{node} draft']
    bob = world.clone(server.url(transport), 'bob', '-r', node)
    bob.verified()
    listed = json.loads(fetch(server.start() + 'json-pushes')[1])
    assert {i: p['changesets'] for i, p in listed.items()} == {'1': [node]}


@pytest.mark.slow
def test_public_pages_while_it_hangs(world, behind):
    """Only whoever is first asks it, and waits; and it ends by itself."""
    server, database = behind
    server.configured('repository')
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[headless]\ndatabase-connect-timeout = 8\ndatabase-timeout = 1\n')
    url = server.start()
    alice = world.clone(url, 'alice')
    node = alice.commit('a')
    alice.hg_fast('push', '-q')
    public = alice.node('public() and tip^')
    assert fetch(f'{url}rev/{public}')[0] == 200
    database.hangs = True
    assert fetch(f'{url}rev/{public}')[0] == 200
    started, before = time.monotonic(), database.unanswered
    pages = (f'rev/{public}', 'shortlog', 'graph', '', f'rev/{public[:6]}') * 4
    # Not more at once than hgweb's socket lets wait.
    with ThreadPoolExecutor(4) as threads:
        codes = list(threads.map(lambda page: fetch(url + page)[0], pages))
    assert codes == [200] * 20
    world.clone(url, 'bob').hg_fast('pull')
    # What asks in the background does so once a second; whoever asks waits.
    background = 2 + (time.monotonic() - started) / engine.Breaker.INTERVAL
    assert database.unanswered - before <= background
    assert fetch(f'{url}rev/{node}')[0] == 503
    database.hangs = False
    deadline = time.monotonic() + 20
    while fetch(f'{url}rev/{node}')[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert fetch(f'{url}rev/{node}')[0] == 200
    alice.commit('b')
    assert 'as push 2' in alice.hg_fast('push')


def test_what_the_server_says(world, make_server, services):
    server = make_server('services')
    hgrc = server.root / '.hg' / 'hgrc'
    hgrc.write_text(
        re.sub(r'(?m)^(database = .*)$', r'\1&options=-c%20no_such_thing%3D1', hgrc.read_text())
    )
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a')
    out = alice.hg_fast('push', code=255)
    assert 'headless: temporary: the database is not reachable or too slow (' in out
    assert 'no_such_thing' in out


@pytest.fixture
def two(make_server):
    """The catalog of a server as two processes have it."""
    server = make_server('services')
    parsed = engine.sqlalchemy.make_url(server.configured('database'))
    return [
        catalog.Catalog(engine.Database(engine._postgres(parsed, options), options), 'try')
        for options in (engine.Options(), engine.Options(5))
    ]


@pytest.mark.slow
def test_lease(two, monkeypatch):
    monkeypatch.setattr(coordination, 'LENGTH', 12)
    one, other = two

    def until() -> int:
        with one._database.reading() as connection:
            return connection.exec_driver_sql('SELECT max(until) FROM leases').scalar()

    with one.exclusive('removal') as held:
        with other.exclusive('removal') as second:
            assert second is None
        with other.exclusive('another') as third:
            assert third is not None
        taken, deadline = until(), time.monotonic() + 60
        while until() == taken and time.monotonic() < deadline:
            time.sleep(0.2)
        assert until() > taken  # it is renewed
        held()
        with other.exclusive('removal') as second:
            assert second is None
    with other.exclusive('removal') as second:
        assert second is not None


def test_lease_that_was_lost(two, monkeypatch):
    """Its process was asleep, and another one has it now."""
    one, other = two
    with one.exclusive('removal') as held:
        with one._database.writing() as connection:
            connection.exec_driver_sql("UPDATE leases SET until = 0, owner = 'elsewhere:1 x'")
        with other.exclusive('removal') as second:
            assert second is not None
            with pytest.raises(engine.Temporary, match='has taken over'):
                held()


def test_lease_of_a_dead_process(two):
    one, _other = two
    dead = subprocess.Popen(['true'])
    dead.wait()
    from hgext_headless import hgcompat

    machine = hgcompat.process().rpartition(':')[0]
    with one._database.writing() as connection:
        connection.exec_driver_sql(
            'INSERT INTO leases SELECT %s, %s, 99999999999',
            ('try removal', f'{machine}:{dead.pid} x'),
        )
    with one.exclusive('removal') as held:
        assert held is not None
    with one._database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO leases SELECT 'try removal', 'elsewhere:1 x', 99999999999"
        )
    with one.exclusive('removal') as held:
        assert held is None


@contextlib.contextmanager
def bouncer(folder: Path, url: str, mode: str):
    """PgBouncer, as Debian has it; yields the URL that goes through it."""
    program = shutil.which('pgbouncer') or '/usr/sbin/pgbouncer'
    host = re.search(r'host=([^&]*)', url).group(1)
    (folder / 'users').write_text('"postgres" ""\n')
    config = folder / 'pgbouncer.ini'
    config.write_text(
        f'[databases]\n* = host={host}\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {folder}\n'
        f'listen_port = 6432\nauth_type = trust\nauth_file = {folder}/users\npool_mode = {mode}\n'
        f'logfile = {folder}/log\npidfile = {folder}/pid\n'
    )
    user: dict[str, Any] = {}
    if not os.geteuid():  # it does not run as root
        owner = os.stat(host)
        os.chown(folder, owner.st_uid, owner.st_gid)
        user = {'user': owner.st_uid, 'group': owner.st_gid, 'extra_groups': []}
    process = subprocess.Popen(
        [program, '-q', config], **user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while not (folder / '.s.PGSQL.6432').exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield re.sub(r'host=[^&]*', f'host={folder}&port=6432', url)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize(
    'mode', [pytest.param('session', marks=pytest.mark.slow), 'transaction']
)
def test_pgbouncer(world, make_server, mode):
    if not (shutil.which('pgbouncer') or Path('/usr/sbin/pgbouncer').exists()):
        pytest.skip('PgBouncer is not installed')
    server = make_server('services')
    hgrc = server.root / '.hg' / 'hgrc'
    url = re.search(r'^database = (.*)$', hgrc.read_text(), re.M).group(1)
    with tempfile.TemporaryDirectory(prefix='headless-bouncer-') as folder:
        os.chmod(folder, 0o755)
        with bouncer(Path(folder), url, mode) as through:
            hgrc.write_text(hgrc.read_text().replace(url, through))
            server.hg_fast('admin::headless-init')
            alice = world.clone(server.start(), 'alice')
            for number in range(3):
                node = alice.commit(f'file{number}')
                assert f'as push {number + 1}' in alice.hg_fast('push')
            world.clone(server.start(), 'bob', '-r', node).verified()
            server.hg_fast('admin::headless-gc', '--grace', '0s')
            assert 'expired 1 draft' in server.hg_fast('admin::headless-expire', '--push', '3')
            assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')
            server.stop()
