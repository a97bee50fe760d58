"""What docs/operating.rst tells an operator to do, done."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from helpers import services as running
from helpers.documents import block
from helpers.web import fetch, fetch_json
from helpers.world import HG, free_url, unrequire

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / 'docs' / 'operating.rst').read_text()


def execute(url: str, statements: str) -> None:
    connection = psycopg2.connect(url.replace('+psycopg2', ''))
    connection.autocommit = True
    for statement in statements.split(';'):
        if statement.strip():
            connection.cursor().execute(statement)
    connection.close()


@pytest.fixture
def databases(services, tmp_path_factory):
    """URLs of the database for the two roles that the document makes."""
    admin = services.database.format(name='postgres')
    name = f'roles{os.getpid()}'
    rename = lambda text: re.sub(r'\bheadless(_web)?\b', rf'{name}\1', text)  # noqa: E731
    execute(admin, rename(block('roles')))
    of_database = services.database.format(name=name)
    urls = [
        re.sub(r'//[^@/]*@', f'//{role}@', of_database) for role in (name, f'{name}_web')
    ]
    execute(urls[0], rename(block('grants')))
    return urls


def test_hgweb_reads_only(world, make_server, services, databases):
    """It serves everything with a role that reads rows and a key that reads objects."""
    writer, reader = databases
    assert writer != reader
    common = (
        f'store = s3://{running.BUCKET}/roles\ns3-endpoint-url = {services.endpoint}\n'
        's3-region = us-east-1\nlink-secret = s\n'
    )
    secret = {'AWS_SECRET_ACCESS_KEY': running.SECRET_KEY}
    push = make_server(settings=f'database = {writer}\n{common}', name='push')
    world.env.update(secret, AWS_ACCESS_KEY_ID=running.ACCESS_KEY)
    push.hg_fast('admin::headless-init')
    web = make_server(
        settings=f'database = {reader}\n{common}', name='web', extensions=('web',)
    )
    web.extra_env = {**secret, 'AWS_ACCESS_KEY_ID': running.READER_KEY}
    unrequire(web.root)
    push_too = ('--config', 'extensions.hgext_headless.push=')
    out = web.hg('admin::headless-init', *push_too, env=web.extra_env)
    assert 'the schema is up to date' in out and 'wrote the requirement' in out
    base = web.start()
    alice = world.clone(str(push.root), 'alice')
    alice.commit('a')
    tip = alice.commit('b')
    alice.hg_fast('bookmark', 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine')
    bob = world.clone(base, 'bob')
    bob.hg_fast('pull', '-q', '-r', 'mine')
    assert bob.node('tip') == tip
    assert 'b' in bob.hg('incoming', '-R', world.clone(base, 'carol').root, '-r', tip, base)
    for page in (f'rev/{tip}', f'raw-rev/{tip}', f'file/{tip}/b', 'pushlog', 'pushloghtml'):
        assert fetch(base + page)[0] == 200, page
    assert fetch_json(f'{base}json-pushes?changeset={tip}&full=1')['1']['user'] == 'alice'
    assert fetch_json(f'{base}json-pushes?search=a').keys() == {'1'}
    # And no more than that: to write words for search, too, is for others.
    execute(writer, 'DELETE FROM changeset_words')
    assert 'wrote the words' not in web.hg('admin::headless-init', *push_too, env=web.extra_env)
    assert 'wrote the words of 2 changesets' in push.hg_fast('admin::headless-init')
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(reader, 'DELETE FROM bundles')
    (web.root / '.hg' / 'hgrc').write_text(
        (push.root / '.hg' / 'hgrc').read_text().replace(writer, reader)
    )
    alice.commit('c')
    out = alice.hg('push', '-f', str(web.root), code=255)
    assert 'lacks a right on a table' in out
    assert web.changesets() == 3


def test_policies():
    """They name what the S3 store asks for, no more and no less."""
    source = (ROOT / 'hgext_headless' / 'store' / 's3.py').read_text()
    rights = {
        'put_object': 's3:PutObject',
        'get_object': 's3:GetObject',
        'head_object': 's3:GetObject',
        'head_bucket': 's3:ListBucket',
        'list_objects_v2': 's3:ListBucket',
        'delete_objects': 's3:DeleteObject',
    }
    used = {*re.findall(r'_client\.(\w+)', source), *re.findall(r"paginator\('(\w+)", source)}
    used -= {'get_paginator', 'generate_presigned_url'}
    assert used == set(rights)

    def allowed(name: str) -> set[str]:
        return {
            action
            for statement in json.loads(block(f'policy-{name}'))['Statement']
            for action in statement['Action']
        }

    assert allowed('housekeeping') == set(rights.values())
    assert allowed('push') == allowed('housekeeping') - {'s3:DeleteObject'}
    assert allowed('web') == allowed('push') - {'s3:PutObject'}


def test_wsgi(world, make_server):
    """The WSGI script, under a WSGI server with threads."""
    server = make_server('embedded')
    script = block('wsgi').replace('/srv/hg/try', str(server.root))
    (world.folder / 'hgweb_wsgi.py').write_text(script)
    url, port = free_url()
    (world.folder / 'serve.py').write_text(
        'import socketserver, sys\n'
        'from wsgiref.simple_server import WSGIServer, make_server\n'
        'from hgweb_wsgi import application\n'
        'class Threads(socketserver.ThreadingMixIn, WSGIServer): daemon_threads = True\n'
        f"make_server('127.0.0.1', {port}, application, Threads).serve_forever()\n"
    )
    with open(world.folder / 'wsgi.log', 'wb') as log:
        process = subprocess.Popen(
            [sys.executable, 'serve.py'], cwd=world.folder, env=world.env, stderr=log
        )
    try:
        world.wait_for(url)
        alice = world.clone(url, 'alice')
        tip = alice.commit('a')
        assert f'see {url}pushloghtml?changeset={tip}' in alice.hg_fast('push')
        world.clone(url, 'bob', '-r', tip).verified()
        assert fetch(f'{url}rev/{tip}')[0] == 200
        assert '1' in fetch_json(f'{url}json-pushes')
    finally:
        process.kill()
        process.wait()
    assert 'Traceback' not in (world.folder / 'wsgi.log').read_text()


@pytest.mark.slow
def test_move_in_keep_house_move_out(world, services):
    """The whole document, from an ordinary repository to an ordinary repository."""
    srv = world.folder / 'srv'
    srv.mkdir()
    old = world.init('srv/old')
    old.commit('public')
    old.hg_fast('phase', '--public', '.')
    drafts = []
    for number in range(3):
        old.hg_fast('update', '-q', '0')
        drafts.append(old.commit(f'draft{number}'))
    pushlog2 = old.root / '.hg' / 'pushlog2.db'
    make_pushlog2(pushlog2, [old.node('0'), *drafts])
    (old.root / '.hg' / 'hgrc').write_text('[phases]\npublish = no\n')

    from conftest import fresh

    values = dict(re.findall('^(.*) = (.*)$', fresh(world, services), re.M))

    def adapted(text: str) -> str:
        for item in ('database', 'store'):
            text = re.sub(f'^{item} = .*', f'{item} = {values[item]}', text, flags=re.M)
        return text.replace('/srv/hg', str(srv)).replace('/etc/mercurial', str(world.folder))

    rc = world.folder / 'headless-import.rc'
    rc.write_text(
        adapted(block('hgrc-import'))
        + ''.join(f'{item} = {values[item]}\n' for item in ('s3-endpoint-url', 's3-region'))
    )
    env = {**world.env, 'PATH': f'{os.path.dirname(HG)}:{os.environ["PATH"]}'}

    def sh(script: str) -> str:
        done = subprocess.run(
            ['sh', '-ec', adapted(script)], env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, (script, done)
        assert 'Traceback' not in done.stderr
        return done.stdout

    out = sh(block('import') + block('cutover'))
    assert 'pushes' in out
    with open(srv / 'try' / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[web]\npush_ssl = no\nallow-push = *\n')
    assert 'all is well' in sh(block('check'))
    for line in block('cron').splitlines():
        if not line.startswith(('#', 'PATH=')):
            command = line.split('  hg ')[-1] if '  hg ' in line else line.split(' hg ')[-1]
            command = command.replace('/var/lib/node_exporter', str(world.folder))
            assert sh(f'hg {command}') == ''
    assert (world.folder / 'headless.prom').read_text().startswith('# HELP headless_')
    bob = world.clone(str(srv / 'try'), 'bob')
    assert len(bob.log()) == 1
    bob.hg_fast('pull', '-q', '-r', drafts[1])
    bob.hg_fast('update', '-q', 'tip')
    bob.commit('new')
    assert 'as push 5' in bob.hg_fast('push', '-f', '-r', '.')

    sh(block('follow'))
    # The tests' Postgres has no fsync, which is a problem.
    told = sh(block('doctor').rstrip() + ' || test $? = 1')
    assert [line for line in told.splitlines() if line.startswith('problem')] == [
        'problem: database: fsync is off: pushes that were acknowledged are lost if its machine '
        'crashes'
    ]
    assert sh(block('housekeeping').replace('/srv/hg/other', '')) == ''
    sh(block('init-web'))
    sh(block('export'))
    ordinary = world.folder / 'srv' / 'ordinary'
    assert world.hg('-R', ordinary, 'log', '-r', 'all()', '-T', '{phase} ').split() == [
        'public', *['draft'] * 4
    ]
    world.hg('-R', ordinary, 'verify', '-q')
    assert len(list((srv / 'archive').glob('*.hg'))) == 4
    execute(values['database'], block('skip-ids'))
    assert 'all is well' in sh(block('restored'))
    bob.commit('newer')
    assert 'as push 5000001' in bob.hg_fast('push', '-f', '-r', '.')
    assert 'removed the requirement' in sh(block('remove-requirement'))
    (srv / 'try' / '.hg' / 'hgrc').unlink()
    world.hg('-R', srv / 'try', 'verify', '-q')
    shutil.rmtree(srv)


def make_pushlog2(path: Path, nodes: list[str]) -> None:
    import sqlite3

    with sqlite3.connect(path) as database:
        database.executescript(
            'CREATE TABLE changesets (pushid INTEGER, rev INTEGER, node text);'
            'CREATE TABLE pushlog (id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT, date INTEGER);'
        )
        for number, node in enumerate(nodes):
            database.execute(
                'INSERT INTO pushlog (user, date) VALUES (?, ?)', (f'u{number}', 1790000000)
            )
            database.execute(
                'INSERT INTO changesets VALUES (?, ?, ?)', (number + 1, number, node)
            )
    database.close()
