"""Code and schema of different ages beside each other."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from conftest import EITHER, empty_database
from helpers import kept
from helpers.web import fetch_json
from helpers.world import Clone, Server

import hgext_headless
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
    alice.hg_fast('push')
    sql(server, "UPDATE alembic_version SET version_num = '9000'")
    alice.commit('b')
    out = alice.hg_fast('push', code=255)
    assert 'headless: misconfigured: the schema of the database is newer (9000)' in out
    # One that says that this code may.
    sql(server, f"INSERT INTO compatibility VALUES ('9000', '{schema.REVISION}')")
    assert 'as push 2' in alice.hg_fast('push')
    sql(server, "UPDATE compatibility SET min_code = '9000' WHERE revision = '9000'")
    alice.commit('c')
    assert 'is newer (9000)' in alice.hg_fast('push', code=255)
    assert len(world.clone(server.start(), 'bob').log()) == 3  # public history is served


@pytest.mark.parametrize('kind', ['sqlite', 'postgres'])
def test_migrations_make_the_models(world, make_server, kind):
    server = make_server('services' if kind == 'postgres' else 'embedded')
    server.hg_fast('admin::headless-init')
    assert_models(server)


def assert_models(server: Server) -> None:
    """A server's database has the tables of the models."""
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


@pytest.mark.parametrize('backend', EITHER)
def test_schema_from_before_the_first_release(make_server, backend):
    """It is not migrated; that is said, and nothing is changed."""
    server = make_server(backend)
    server.hg_fast('admin::headless-init')
    sql(server, "UPDATE alembic_version SET version_num = '0007'")
    out = server.hg_fast('admin::headless-init', code=255)
    assert 'headless: misconfigured: the schema of the database (0007) is from before 1.0.0' in out
    assert 'admin::headless-rebuild' in out
    sql(server, f"UPDATE alembic_version SET version_num = '{schema.REVISION}'")
    assert 'up to date' in server.hg_fast('admin::headless-init')


MIGRATION = """
import sqlalchemy
from alembic import op

revision, down_revision = '{revision}', '{down}'


def upgrade():
    {work}
    op.execute("INSERT INTO compatibility VALUES ('{revision}', '{min_code}')")
"""


def next_version(folder: Path) -> Path:
    """A folder with this package's next version: 9001 adds to the schema, 9002 removes."""
    package = folder / 'next' / 'hgext_headless'
    shutil.copytree(Path(hgext_headless.__file__).parent, package)
    versions = package / 'catalog' / 'migrations' / 'versions'
    added = "op.add_column('pushes', sqlalchemy.Column('note', sqlalchemy.Text))"
    removed = "op.drop_column('pushes', 'note')"
    for revision, down, work, min_code in (
        ('9001', schema.REVISION, added, schema.REVISION),
        ('9002', '9001', removed, '9001'),
    ):
        text = MIGRATION.format(revision=revision, down=down, work=work, min_code=min_code)
        (versions / f'{revision}_next.py').write_text(text)
    path = package / 'catalog' / 'schema.py'
    text = path.read_text().replace(f"\nREVISION = '{schema.REVISION}'", "\nREVISION = '9002'")
    path.write_text(text.replace(f"\nOLDEST = '{schema.OLDEST}'", "\nOLDEST = '9001'"))
    return package.parent


class Pusher(threading.Thread):
    """Somebody who pushes over ssh, again and again: a process of the server each time."""

    def __init__(self, clone: Clone) -> None:
        super().__init__()
        self._clone, self._stopped = clone, threading.Event()
        self.answers: list[str] = []

    def run(self) -> None:
        while not self._stopped.is_set():
            self._clone.commit(f'file{len(self.answers)}')
            self.answers.append(self._clone.hg('push', '-f', '-r', '.', code=None))

    def wait_for_more(self) -> None:
        """Until a push has begun and ended."""
        count = len(self.answers)
        while len(self.answers) < count + 2:
            assert self.is_alive()
            time.sleep(0.05)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.mark.slow
@pytest.mark.parametrize('backend', EITHER)
def test_pushes_during_an_upgrade(world, make_server, backend):
    """As docs/operating.rst has it: expand, switch the servers, contract; no push is refused."""
    server = make_server(backend)
    server.hg_fast('admin::headless-init')
    old, new = Path(hgext_headless.__file__).parent.parent, next_version(world.folder)
    running = server.start()  # old code, until the end
    installed = world.folder / 'installed'
    installed.symlink_to(old)
    world.env['PYTHONPATH'] = str(installed)
    pusher = Pusher(world.clone(server.url('ssh'), 'alice'))
    pusher.start()
    try:
        pusher.wait_for_more()
        by_new = {'PYTHONPATH': str(new)}
        out = server.hg('admin::headless-init', '--expand', env=by_new)
        assert f'upgraded the schema from {schema.REVISION} to 9001' in out
        pusher.wait_for_more()
        bob = world.clone(running, 'bob')
        bob.commit('bob')
        assert 'as push ' in bob.hg_fast('push', '-f', '-r', '.')
        (world.folder / 'replacement').symlink_to(new)
        os.replace(world.folder / 'replacement', installed)
        pusher.wait_for_more()
        assert 'upgraded the schema from 9001 to 9002' in server.hg('admin::headless-init')
        pusher.wait_for_more()
    finally:
        pusher.stop()
    ids = [re.findall('as push ([0-9]+)', answer) for answer in pusher.answers]
    assert all(ids), pusher.answers
    assert len(ids) == len(fetch_json(f'{running}json-pushes?startID=0')) - 1
    assert 'all is well' in server.hg('admin::headless-verify', '--full')
    # What still runs the old code takes nothing more, and says so.
    bob.commit('late')
    assert 'is newer (9002)' in bob.hg_fast('push', '-f', '-r', '.', code=255)
    assert len(world.clone(running, 'carol').log()) == 3


@pytest.mark.parametrize('name', kept.names())
def test_server_of_each_release(request, world, make_server, name):
    """Its database is upgraded, nothing in it is lost, and pushes go on."""
    folder = world.folder / 'kept'
    sql = kept.unpack(name, folder)
    settings = f'store = file://{folder}/.hg/headless/store\ninline = always\n'
    if sql is not None:
        url = empty_database(request.getfixturevalue('services'))
        kept.load(sql, url)
        settings += f'database = {url}\n'
    server = Server(world, copied=folder, settings=settings)
    out = server.hg('admin::headless-init')
    assert 'up to date' in out or 'upgraded the schema' in out, out
    assert_models(server)
    assert 'all is well' in server.hg('admin::headless-verify', '--full')
    pushes = fetch_json(server.start() + 'json-pushes?version=2&full=1')
    listed = [push['changesets'] for _push_id, push in sorted(pushes['pushes'].items())]
    described = [changeset['desc'] for each in listed for changeset in each]
    assert described[:2] == ['draft', 'public']
    bob = world.clone(server.start(), 'bob')
    bob.hg('pull', '-q', '-B', 'work')
    assert bob.log('work')[0].endswith(' draft')
    assert 'stable' in bob.hg('bookmarks')
    bob.commit('new')
    assert f'as push {pushes["lastpushid"] + 1}' in bob.hg('push', '-f', '-r', '.')
    server.stop()
