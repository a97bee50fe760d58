"""Code and schema of different ages beside each other."""

from __future__ import annotations

import re

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from conftest import EITHER

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
