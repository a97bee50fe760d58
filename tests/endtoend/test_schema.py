"""Code and schema of different ages beside each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from conftest import EITHER
from web import fetch_json

from hgext_headless.catalog import schema

ROOT = Path(__file__).parent.parent.parent


def sql(server, statement: str) -> None:
    """Run a statement on a server's database, whichever it is."""
    import sqlalchemy

    found = re.search('^database = (.*)', (server.root / '.hg' / 'hgrc').read_text(), re.M)
    embedded = f'sqlite:///{server.root}/.hg/headless/catalog.sqlite'
    engine = sqlalchemy.create_engine(found.group(1) if found else embedded)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement))
    engine.dispose()


@pytest.mark.parametrize('backend', EITHER)
def test_schema_that_changes_under_a_process(world, make_server, backend):
    """A process that has been running asks with each push whether it may write."""
    server = make_server(backend)
    alice = world.clone(server.start(), 'alice')
    alice.commit('a')
    alice.hg('push')
    sql(server, "UPDATE alembic_version SET version_num = '9000'")
    alice.commit('b')
    out = alice.hg('push', code=255)
    assert 'headless: misconfigured: the schema of the database is newer (9000)' in out
    # One that says that this code may.
    sql(server, f"INSERT INTO compatibility VALUES ('9000', '{schema.REVISION}')")
    assert 'as push 2' in alice.hg('push')
    sql(server, "UPDATE compatibility SET min_code = '9000' WHERE revision = '9000'")
    alice.commit('c')
    assert 'is newer (9000)' in alice.hg('push', code=255)
    assert len(world.clone(server.start(), 'bob').log()) == 3  # public history is served


def previous_code(folder: Path) -> Path | None:
    """This project's code of the schema before, from the history of the checkout."""
    command = ['git', '-C', str(ROOT), 'log', '--format=%H', '--', 'hgext_headless']
    found = subprocess.run(command, capture_output=True, text=True)
    for commit in found.stdout.split():
        path = f'{commit}:hgext_headless/catalog/schema.py'
        show = ['git', '-C', str(ROOT), 'show', path]
        text = subprocess.run(show, capture_output=True, text=True).stdout
        revision = re.search(r"^REVISION = '(\d+)'", text, re.M)
        if revision and revision.group(1) < schema.REVISION:
            archive = folder / 'previous.tar'
            make = ['git', '-C', str(ROOT), 'archive', '-o', str(archive), commit, 'hgext_headless']
            subprocess.run(make, check=True)
            with tarfile.open(archive) as tar:
                tar.extractall(folder / 'previous')
            return folder / 'previous'
    return None


@pytest.mark.parametrize('backend', EITHER)
def test_previous_code_beside_this(world, make_server, backend):
    """Its running processes go on after the schema was expanded; ids have no gap."""
    code = previous_code(world.folder)
    if code is None:
        pytest.skip('this checkout has no history with the schema before')
    server = make_server(backend)
    # The schema before: made by its own code.
    old = {'PYTHONPATH': str(code)}
    shutil.rmtree(server.root / '.hg' / 'headless', ignore_errors=True)
    if backend == 'services':
        pytest.importorskip('psycopg2')
        sql(server, 'DROP SCHEMA public CASCADE')
        sql(server, 'CREATE SCHEMA public')
    out = server.hg('admin::headless-init', env=old)
    assert 'created the schema' in out, out
    server.extra_env = old
    before = server.start()
    alice = world.clone(before, 'alice')
    alice.commit('a')
    assert 'as push 1' in alice.hg('push')
    assert 'upgraded the schema' in server.hg('admin::headless-init', '--expand')
    server.extra_env = {}
    after = server.start_another()
    for number, url in enumerate((before, after, before, after), 2):
        alice.commit(f'file{number}')
        assert f'as push {number}' in alice.hg('push', url)
    assert 'all is well' in server.hg('admin::headless-verify', '--full')
    assert 'up to date' in server.hg('admin::headless-init')
    assert sorted(fetch_json(f'{after}json-pushes?search=test')) == ['1', '2', '3', '4', '5']
    # Code from before drops words with their changesets.
    gone = alice.node()
    out = server.hg('admin::headless-obliterate', gone, '--reason', 'x', env=old)
    assert f'obliterated {gone}' in out
    assert sorted(fetch_json(f'{after}json-pushes?search=test')) == ['1', '2', '3', '4']
    assert fetch_json(f'{after}json-pushes?search=file5') == {}
    if backend == 'services':  # code from before logs no public history
        assert 'logged' not in server.hg('admin::headless-follow')
        alice.hg('update', '-q', '.^')
        alice.commit('public')
        alice.hg('phase', '--public', '.')
        assert 'as push 6' in alice.hg('push', '-f', '-r', '.', before)
        assert '1 bundles' in server.hg('admin::headless-follow')
        assert 'all is well' in server.hg('admin::headless-verify', '--full')
