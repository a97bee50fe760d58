"""The rights that docs/operating.rst gives to a role and to a key suffice."""

from __future__ import annotations

import json
import os
import re

import psycopg2
import pytest
from helpers import services as running
from helpers.documents import ROOT, TEXT, block
from helpers.web import fetch, fetch_json
from helpers.world import unrequire


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
    execute(admin, f'CREATE ROLE {name} LOGIN; CREATE ROLE {name}_web LOGIN')
    execute(admin, f'CREATE DATABASE {name} OWNER {name}')
    of_database = services.database.format(name=name)
    urls = [
        re.sub(r'//[^@/]*@', f'//{role}@', of_database) for role in (name, f'{name}_web')
    ]
    grants = ';'.join(re.findall("-c '((?:ALTER|GRANT) [^']*)'", block('roles')))
    grants = re.sub(r'\bheadless(_web)?\b', rf'{name}\1', grants)
    execute(services.database.format(name=name), grants)
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
        'delete_object': 's3:DeleteObject',
        'delete_objects': 's3:DeleteObject',
    }
    used = {*re.findall(r'_client\.(\w+)', source), *re.findall(r"paginator\('(\w+)", source)}
    used -= {'get_paginator', 'generate_presigned_url', 'meta'}
    assert used == set(rights)

    policy = json.loads((ROOT / 'examples' / 'policy.json').read_text())
    allowed = {action for statement in policy['Statement'] for action in statement['Action']}
    assert allowed == set(rights.values())
    lines = re.findall('^(hgweb server|push server|housekeeping)  (.*s3:.*)', TEXT, re.M)
    told = {machine: set(re.findall('s3:[A-Za-z]+', line)) for machine, line in lines}
    assert told['housekeeping'] == allowed
    assert told['push server'] == allowed - {'s3:DeleteObject'}
    assert told['hgweb server'] == told['push server'] - {'s3:PutObject'}
