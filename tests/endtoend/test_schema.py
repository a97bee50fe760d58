"""Code and schema of different ages beside each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from conftest import EITHER
from helpers.documents import ROOT
from helpers.web import fetch_json

from hgext_headless.catalog import schema


def sql(server, statement: str) -> None:
    """Run a statement on a server's database, whichever it is."""
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


@pytest.mark.parametrize('kind', ['sqlite', 'postgres'])
def test_migrations_make_the_models(world, make_server, kind):
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
