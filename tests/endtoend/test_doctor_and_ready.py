"""What tells whether a server is well: health, readiness, ``headless-doctor``."""

from __future__ import annotations

import json
import re
import time

import pytest
import sqlalchemy
from helpers import services as running
from helpers.web import fetch, fetch_json
from helpers.world import Server, free_url
from mercurial import util

DOCTOR = 'admin::headless-doctor'


@pytest.fixture
def server(world, settings):
    made = Server(world, 'server', settings)
    made.configure(f'{settings}link-base = https://hg.example.com/try\n')
    made.hg_fast('admin::headless-init')
    (made.root / '.hg' / 'hgrc').chmod(0o600)
    yield made
    made.stop()


def without_database(settings: str) -> str:
    return re.sub('database = .*', 'database = postgresql+psycopg2://x@127.0.0.1:1/y', settings)


def examined(server, code: int | None = 0) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for line in json.loads(server.hg(DOCTOR, '-T', 'json', code=code)):
        found.setdefault(line['item'], []).append((line['kind'], line['text']))
    return found


def test_well(server):
    """The tests' Postgres runs without fsync, and that is told; nothing else is wrong."""
    for command in ('gc', 'verify'):
        server.hg(f'admin::headless-{command}')
    found = examined(server, code=1)
    (fsync,) = (line for line in found['database'] if line[0] == 'problem')
    assert 'fsync is off' in fsync[1]
    found['database'].remove(fsync)
    assert {kind for lines in found.values() for kind, _text in lines} == {'ok'}, found
    assert list(found) == [
        'configuration',
        'hgrc',
        'requirement',
        'database',
        'pushes',
        'store',
        'public history',
        'commands',
    ]
    assert 'ok: store: an object was written, read, listed and deleted' in server.hg(DOCTOR, code=1)


def test_what_is_wrong(server, world, settings):
    found = examined(server, code=1)
    assert [kind for kind, _text in found['commands']] == ['warning', 'warning']
    (server.root / '.hg' / 'hgrc').chmod(0o644)
    assert 'anybody can read' in examined(server, code=1)['hgrc'][0][1]
    file = world.folder / 'file'
    file.touch()
    server.configure(f'{without_database(settings)}cache-dir = {file}/cache\n')
    found = examined(server, code=1)
    assert 'headless: temporary' in found['database'][0][1]
    assert str(found).count('headless: temporary') == 1
    assert found['store'][0][0] == 'ok'
    [(kind, text)] = found['cache']
    assert kind == 'problem' and f'{file}: Not a directory. Make {file}/cache' in text
    wrong = '[headless-announce]\nbuild = htps://example.com/\n'
    server.configure(f'{without_database(settings)}cache-dir = cache\n', wrong)
    found = examined(server, code=1)
    assert 'headless-announce.build is neither' in found['announcements'][0][1]
    assert found['cache'][0][1].startswith('headless.cache-dir is relative')
    server.configure(re.sub('database = .*', '', settings))
    assert 'headless.database is not set' in examined(server, code=1)['database'][0][1]
    server.hg_fast('admin::headless-init')
    kind, text = examined(server, code=0)['configuration'][-1]
    assert kind == 'warning' and text.endswith('set headless.database')


def test_what_will_fail(server, world, settings):
    """Hooks that cannot be loaded, a cache that cannot be made, and who is not told of pushes."""
    (world.folder / 'there.py').write_text('def hook(**kwargs):\n    pass\n')
    nobody, _port = free_url()
    server.configure(
        f'{settings}cache-dir = /proc/cache\n',
        f'[hooks]\npretxnchangegroup.gone = python:{world.folder}/gone.py:hook\n'
        f'prepushkey.other = python:{world.folder}/there.py:other\n'
        f'pretxnclose-phase.good = python:{world.folder}/there.py:hook\n'
        'changegroup.module = python:no_module.hook\nincoming.notify = python:hgext.notify.hook\n'
        f'[headless-announce]\nci = {nobody}\nlater = | cat > {world.folder}/told\n',
    )
    found = examined(server, code=1)
    assert ['was never told' in text for _kind, text in found['announcements']] == [True, True]
    assert [text for kind, text in found['hooks'] if kind == 'problem'] == [
        f'pretxnchangegroup.gone cannot be loaded: {world.folder}/gone.py: No such file or '
        'directory',
        "prepushkey.other cannot be loaded: AttributeError: module 'hghook_prepushkey_other' has "
        "no attribute 'other'",
        "changegroup.module cannot be loaded: ModuleNotFoundError: No module named 'no_module'",
    ]
    [(kind, text)] = found['cache']
    assert kind == 'problem' and '/proc: No such file or directory. Make /proc/cache' in text
    server.hg('admin::headless-announce')
    alice = world.clone(server.url('path'), 'alice')
    alice.commit('a')
    server.configure(settings, f'[headless-announce]\nci = {nobody}\nold = | true\n')
    alice.hg('push')
    server.hg('admin::headless-announce', 'ci', code=1)
    with sqlalchemy.create_engine(server.configured('database')).begin() as connection:
        connection.exec_driver_sql('UPDATE pushes SET date = date - 100')
    (ci_kind, ci), (old_kind, old) = examined(server, code=1)['announcements']
    assert ci_kind == 'problem' and 'ci: 1 push after push 0 to come; failed 1 time: it c' in ci
    assert old_kind == 'warning' and old.endswith('--watch" running?')


@pytest.mark.skipif(util.versiontuple() < (7,), reason='hg has no --config-file before 7.0')
def test_copy_of_the_hgrc(server, settings, tmp_path):
    """What the copy lacks is missed, also where the hgrc has it: see docs/operating.rst."""
    server.configure(settings, more='[extensions]\nhgext_headless.push:required = yes\n')
    copy = tmp_path / 'copy'
    for lost, problem in (
        ('hgext_headless.push =.*', 'extensions.hgext_headless.push:required is set, but it'),
        ('database = .*', 'headless.database is not set'),
        (r'\[headless\]', 'no setting of [headless] is in effect'),
    ):
        hgrc = (server.root / '.hg' / 'hgrc').read_text()
        copy.write_text(re.sub(f'^{lost}', '', hgrc, flags=re.MULTILINE))
        out = server.hg('--config-file', copy, DOCTOR, code=None, env={'HGRCSKIPREPO': '1'})
        assert problem in out, lost


def test_what_a_push_does(server, settings):
    """A database that answers and takes no writes, and ids that are taken."""
    database = server.configured('database')
    name = sqlalchemy.make_url(database).database
    with sqlalchemy.create_engine(database).begin() as connection:
        connection.exec_driver_sql("SELECT setval(pg_get_serial_sequence('bundles', 'id'), 1)")
        connection.exec_driver_sql(
            'INSERT INTO bundles (id, repository_id, key, size, sha512, head, bases, created) '
            "SELECT 7, id, 'k', 1, '', '', '', 0 FROM repositories"
        )
        connection.exec_driver_sql(
            f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
        )
    url = server.start()
    code, body, _headers = fetch(url + 'headless-ready')
    assert code == 503 and json.loads(body)['database'] == 'temporary', body
    [(kind, text)] = examined(server, code=1)['pushes']
    said = r'the database is read-only \([^ ]+: cannot execute INSERT'
    assert kind == 'problem' and re.search(said, text)
    with sqlalchemy.create_engine(database).connect() as connection:
        connection.exec_driver_sql('SET TRANSACTION READ WRITE')
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        connection.commit()
    (kind, text), _last = examined(server, code=1)['pushes']
    assert kind == 'problem' and text.endswith('the sequence of bundles')


@pytest.mark.slow
def test_a_database_that_is_newer(world, make_server):
    """An embedded database that was restored alone, or a repository that was stripped."""
    server = make_server('embedded')
    clone = world.clone(server.url('path'), 'clone')
    stripped = clone.publish('public')
    clone.hg('push')
    clone.hg('update', '-q', '0')
    draft = clone.commit('beside')
    clone.hg('push', '-f', '-r', '.')
    server.hg('strip', '--config', 'extensions.strip=', '--no-backup', '-r', 'tip')
    [(kind, text)] = examined(server, code=1)['pushes']
    assert kind == 'problem' and text.startswith('the last push is 2, and this server shows')
    code, body, _headers = fetch(server.url('http') + 'headless-ready')
    assert code == 503 and json.loads(body)['database'] == 'corrupt'
    assert fetch_json(server.url('http') + 'json-pushes') == {}
    clone.hg('push', '-f', '-r', stripped)
    pushes = fetch_json(server.url('http') + 'json-pushes')
    assert [push['changesets'] for push in pushes.values()] == [[stripped], [draft]]
    time.sleep(1)  # an answer is kept for so long
    assert fetch(server.url('http') + 'headless-ready')[0] == 200


@pytest.mark.slow
def test_secrets(server, settings, tmp_path):
    """Only a secret in a file that others may read is worth a warning."""
    key = tmp_path / 'key'
    key.write_text('a key\n')
    key.chmod(0o600)
    plain = re.sub('link-secret = .*', f'link-secret-file = {key}', settings)
    server.configure(plain)
    hgrc = server.root / '.hg' / 'hgrc'
    hgrc.chmod(0o644)
    assert examined(server, code=1)['hgrc'][0][0] == 'ok'
    assert 'a key' not in server.hg('config', 'headless')
    key.chmod(0o644)
    assert f'anybody can read {key}: chmod 640' in examined(server, code=1)['hgrc'][0][1]
    server.configure(re.sub('//([^:@/]*):?@', r'//\1:pw@', plain))
    hgrc.chmod(0o644)
    assert 'which has headless.database: chmod 640' in examined(server, code=1)['hgrc'][1][1]
    server.configure(f'{plain}[headless-announce]\nci = https://ci/\nci:secret = a key\n')
    hgrc.chmod(0o644)
    assert 'which has headless-announce.ci:secret' in examined(server, code=1)['hgrc'][1][1]
    key.unlink()
    assert 'headless.link-secret-file cannot be read' in server.hg('log', code=255)


def test_what_a_role_may(server, settings, services):
    """A role without rights is told which statements grant them."""
    database = server.configured('database')
    name = database.rpartition('/')[2].partition('?')[0]
    with sqlalchemy.create_engine(database).begin() as connection:
        connection.execute(sqlalchemy.text(f'CREATE ROLE "half {name}" LOGIN'))
        connection.execute(sqlalchemy.text(f'GRANT USAGE ON SCHEMA public TO "half {name}"'))
        connection.execute(
            sqlalchemy.text(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "half {name}"')
        )
        connection.execute(sqlalchemy.text(f'REVOKE SELECT ON markers FROM "half {name}"'))
    role = re.sub('//[^@/]*@', f'//half%20{name}@', database)
    server.configure(settings.replace(database, role))
    found = [text for kind, text in examined(server, code=1)['database'] if kind == 'problem']
    assert 'the role may not read: GRANT SELECT ON markers' in found
    assert any('GRANT INSERT, UPDATE, DELETE ON announcements' in text for text in found)


#: Loaded as an extension, it is another clock.
_CLOCK = """
import time
real = time.time
time.time = lambda: real() + 100
"""


def test_another_clock(server, settings, world):
    (world.folder / 'clock.py').write_text(_CLOCK)
    server.configure(settings, f'[extensions]\nclock = {world.folder}/clock.py\n')
    found = examined(server, code=1)['database']
    [(kind, text)] = [line for line in found if 'clock' in line[1]]
    assert kind == 'warning'
    assert re.search("differs from the database's by (99|100|101) seconds: use NTP", text)


@pytest.mark.slow
def test_what_was_not_done(server, settings, world):
    """Commands that succeeded long ago, and a server that is behind."""
    for command in ('gc', 'verify'):
        server.hg(f'admin::headless-{command}')
    replica = Server(world, 'replica', settings, extensions=('web',), copied=server.root)
    alice = world.clone(server.url('http'), 'alice')
    alice.publish('public')
    alice.hg_fast('push')
    with sqlalchemy.create_engine(server.configured('database')).begin() as connection:
        connection.execute(sqlalchemy.text(f'UPDATE last_runs SET ended = ended - {9 * 86400}'))
        connection.execute(sqlalchemy.text('UPDATE public_log SET logged = logged - 1000'))
    found = examined(replica, code=1)
    [behind] = found['public history']
    assert behind[0] == 'warning'
    assert re.search(r'is 1 entry and 10\d\d seconds behind', behind[1])
    assert [kind for kind, _text in found['commands']] == ['warning', 'warning']
    assert 'headless-gc succeeded 9 days ago: run it each night' in found['commands'][0][1]


@pytest.mark.slow
def test_another_store(server, settings, world):
    """A replica's store is the wrong one if it lacks the newest object."""
    alice = world.clone(server.url('http'), 'alice')
    alice.commit('draft')
    alice.hg_fast('push', '-q')
    (world.folder / 'other').mkdir()
    other = re.sub('store = .*', f'store = file://{world.folder}/other', settings)
    replica = Server(world, 'replica', other, extensions=('web',), copied=server.root)
    assert examined(replica, code=1)['store'] == [
        ('problem', 'the newest object is not there: is headless.store right?')
    ]


def test_settings_elsewhere(server, world):
    hgrc = server.root / '.hg' / 'hgrc'
    hgrc.chmod(0o660)
    assert 'others may write to' in examined(server, code=1)['hgrc'][0][1]
    with open(world.env['HGRCPATH'], 'a') as site:
        site.write(hgrc.read_text())
    hgrc.unlink()
    assert 'the settings come from elsewhere' in examined(server, code=1)['hgrc'][0][1]


def test_what_a_reader_may(world, settings, server, services):
    """A key that may only read is told what it cannot do, by name."""
    world.env.update(AWS_ACCESS_KEY_ID=running.READER_KEY)
    out = server.hg(DOCTOR, code=1)
    assert 'problem: store: headless: temporary: this server cannot write objects' in out
    assert 's3:PutObject' in out
    assert 's3:PutObject' in server.hg_fast('admin::headless-init', code=255)


@pytest.mark.slow
def test_replica(world, settings, server):
    """It takes no pushes, and lags."""
    replica = Server(world, 'replica', settings, extensions=('web',), copied=server.root)
    alice = world.clone(server.url('http'), 'alice')
    alice.commit('public')
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push')
    found = examined(replica, code=1)
    assert 'takes no pushes' in found['configuration'][0][1]
    assert found['public history'] == [('ok', 'this repository is 1 entry behind the log')]


def test_ready(world, settings, server):
    replica = Server(world, 'replica', settings, extensions=('web',), copied=server.root)
    url = replica.start()
    assert fetch_json(url + 'headless-health') == {'status': 'ok'}
    found = fetch_json(url + 'headless-ready')
    assert found == {
        'ready': True,
        'database': 'ok',
        'schema': '1001',
        'store': 'ok',
        'pushlog': {'last_push_id': 0, 'last_shown': 0},
        'public_history': {'entries': 0, 'seconds': 0},
    }
    alice = world.clone(server.url('http'), 'alice')
    alice.commit('public')
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push')
    replica.restart()
    found = fetch_json(replica.start() + 'headless-ready')
    assert found['ready'] and found['public_history']['entries'] == 1
    replica.restart()
    code, body, _headers = fetch(replica.start() + 'headless-ready?max-lag=0')
    assert code == 503 and not json.loads(body)['ready']
    replica.stop()


def test_not_ready(world, settings, server):
    """A login is not asked for; what is broken is named, and no host."""
    server.configure(without_database(settings) + '\n[web]\nallow_read = nobody\n')
    url = server.start()
    assert fetch(url + 'log')[0] == 401
    assert fetch(url + 'headless-health')[0] == 200
    code, body, _headers = fetch(url + 'headless-ready')
    assert code == 503
    assert json.loads(body)['database'] == 'temporary'
    assert b'127.0.0.1' not in body


@pytest.mark.slow
def test_ready_with_settings_that_cannot_be(world):
    settings = 'database = postgresql+psycopg2://user@127.0.0.1:port/x\nlink-secret = x'
    server = Server(world, settings=settings)
    code, body, _headers = fetch(server.start() + 'headless-ready')
    assert (code, json.loads(body)['database']) == (503, 'misconfigured')
    server.stop()
    assert 'Traceback' not in server.errors()


def test_metrics(world, settings, server, tmp_path):
    """Of pushes over http and ssh, on a web server and in a file: both from the database."""
    server.configure(settings + 'events = stderr\n')
    for transport in ('http', 'ssh'):
        clone = world.clone(server.url(transport), transport)
        clone.commit(transport)
        assert '"event"' not in clone.hg_fast('push', '-f')
    server.hg_fast('admin::headless-gc')
    code, body, headers = fetch(server.url('http') + 'headless-metrics')
    assert code == 200 and headers['Content-Type'].startswith('text/plain')
    text = body.decode('ascii')
    for line in (
        'headless_up{repository="try"} 1.0',
        'headless_pushes_total{repository="try"} 2.0',
        'headless_changesets_total{repository="try"} 2.0',
        'headless_last_push_id{repository="try"} 2.0',
        'headless_lag_entries{repository="try"} 0.0',
    ):
        assert line in text
    assert 'headless_command_timestamp_seconds{command="gc",repository="try"} 1' in text
    server.hg_fast('admin::headless-stats', '--prometheus', str(tmp_path / 'stats.prom'))
    written = (tmp_path / 'stats.prom').read_text()
    assert [line for line in text.splitlines() if line not in written] == []
    assert 'headless_drafts{repository="try"} 2.0' in written
    # What was counted is not counted again, and a database that is restored begins again.
    clone.commit('more')
    clone.hg_fast('push', '-f')
    taken = re.search(r'^headless_pushes_seconds_total\S* (\S+)', text, re.M)
    assert taken and 0 < float(taken.group(1)) < 600
    size = 'headless_pushes_size_bytes_total{repository="try"} '
    before, after = (
        float(shown.partition(size)[2].split()[0])
        for shown in (text, fetch(server.url('http') + 'headless-metrics')[1].decode('ascii'))
    )
    assert 0 < before < after
    server.configure(without_database(settings))
    text = fetch(server.restart() + 'headless-metrics')[1].decode('ascii')
    samples = [line for line in text.splitlines() if not line.startswith('#')]
    assert samples == ['headless_up{repository="try"} 0.0']
