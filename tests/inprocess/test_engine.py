"""Connections to Postgres, in this process."""

from __future__ import annotations

import gc
import os
import re
import resource
import socket
import time
from typing import Any

import pytest
import sqlalchemy
from conftest import fresh

from hgext_headless.catalog import engine
from hgext_headless.errors import HeadlessError, Temporary


@pytest.fixture
def database(world, services):
    url = re.search('^database = (.*)', fresh(world, services), re.M).group(1)
    opened = engine.open_database(url)
    yield opened
    opened._engine.dispose()


@pytest.fixture
def many_files(database):
    """A process with more than 1,024 open files, as a busy WSGI server's may be.

    Opened last, and after what nobody holds any more was closed: the next descriptor is
    the lowest that is free.
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 1200:
        pytest.skip('this user may not open 1,200 files')
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 1200), limits[1]))
    gc.collect()
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for file in files:
        os.close(file)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_high_descriptor(database, many_files):
    with database.reading() as connection:
        assert connection.connection.dbapi_connection.fileno() >= 1024
        assert connection.exec_driver_sql('SELECT 1').scalar() == 1


def said(url: str, *statements: str) -> str:
    """The line of the error of connecting, or of one of the statements."""
    database = engine.open_database(url, engine.Options(connect_timeout=2))
    with pytest.raises(HeadlessError) as raised, database.writing() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    database._engine.dispose()
    return raised.value.line()


def test_what_was_said(world, services):
    """What SQLSTATE or libpq says decides, and is passed on, without a password."""
    url = re.search('^database = (.*)', fresh(world, services), re.M).group(1)
    whole = sqlalchemy.make_url(url)

    def with_(**parts: str) -> str:
        changed = whole.set(password='s3cret', **parts)
        return changed.render_as_string(hide_password=False)

    with sqlalchemy.create_engine(url).connect() as connection:
        connection.exec_driver_sql('DROP ROLE IF EXISTS headless_limited')
        connection.exec_driver_sql('CREATE ROLE headless_limited LOGIN CONNECTION LIMIT 0')
        connection.commit()
    for line, start, words in (
        (said(with_(username='nobody')), 'temporary: the database refuses the cred', '"nobody"'),
        (said(with_(database='none')), 'misconfigured: the database does not exist', '"none"'),
        (
            said(with_(username='headless_limited')),
            'temporary: the database is not reachable or too slow',
            'too many connections for role "headless_limited"',
        ),
        (
            said('postgresql+psycopg2://x:s3cret@none.invalid/y'),
            'temporary: the database is not reachable',
            'none.invalid',
        ),
        (
            said('postgresql+psycopg2://x:s3cret@127.0.0.1:1/y'),
            'temporary: the database is not reachable',
            '127.0.0.1: Connection refused',
        ),
        (
            said('postgresql+psycopg2://x:s3cret@/y?service=none'),
            'misconfigured: the database cannot be reached with these settings',
            'definition of service "none" not found',
        ),
        (
            said(url, 'SET TRANSACTION READ ONLY', "INSERT INTO leases VALUES ('a', 'b', 1)"),
            f'temporary: the database is read-only ({whole.host or whole.query["host"]}: ',
            'cannot execute INSERT in a read-only transaction',
        ),
        (
            said(url, 'SET LOCAL ROLE headless_limited', 'SELECT * FROM pushes'),
            'misconfigured: the database role lacks a right on a table',
            'permission denied for table pushes',
        ),
        (
            said(url, 'SELECT * FROM none'),
            'misconfigured: the database lacks a table: run "hg admin::headless-init" or, if it '
            'had one, see "Restore" in docs/operating.rst',
            'relation "none" does not exist',
        ),
        (
            said(url, 'SELECT none FROM pushes'),
            'misconfigured: the schema of the database does not fit this code',
            'column "none" does not exist',
        ),
    ):
        assert line.startswith(f'headless: {start}') and words in line, line
        assert 's3cret' not in line and len(line) <= 255


def test_what_was_said_of_each_kind_of_connection():
    """Whole lines, and not the same one twice: libpq tries with TLS and without, each address."""
    server = 'connection to server at "db" (10.0.0.1), port 5432 failed: '
    entry = 'FATAL:  no pg_hba.conf entry for host "10.99.0.12", user "headless", database "x", '
    text = engine._said(f'{server}{entry}SSL encryption\n{server}{entry}no encryption\n', 'db')
    assert text == f'db: {entry}SSL encryption'.replace('  ', ' ')
    refused = 'Connection refused\n\tIs the server running on that host?\n'
    other = server.replace('10.0.0.1', '::1')
    assert engine._said(f'{server}{refused}{other}{refused}', 'db') == 'db: Connection refused'
    assert engine._said('', 'db') == 'db: '


def test_a_read_only_answer_ends_the_connection(database):
    """A server that was demoted keeps its connections; the next one finds its successor."""
    with database.writing() as connection:
        first = connection.exec_driver_sql('SELECT pg_backend_pid()').scalar()
    with pytest.raises(Temporary, match='read-only'), database.writing() as connection:
        assert connection.exec_driver_sql('SELECT pg_backend_pid()').scalar() == first
        connection.exec_driver_sql('SET TRANSACTION READ ONLY')
        connection.exec_driver_sql("INSERT INTO leases VALUES ('a', 'b', 1)")
    with database.writing() as connection:
        assert connection.exec_driver_sql('SELECT pg_backend_pid()').scalar() != first


@pytest.mark.parametrize('told_by', ['URL', 'environment'])
def test_a_host_that_is_dead(world, services, monkeypatch, told_by):
    """One that says nothing is passed, after its own deadline."""
    url = re.search('^database = (.*)', fresh(world, services), re.M).group(1)
    whole = sqlalchemy.make_url(url)
    alive = whole.query.get('host') or f'{whole.host}:{whole.port or 5432}'
    with socket.create_server(('127.0.0.1', 0)) as silent:
        silent_port = silent.getsockname()[1]
        hosts = (f'127.0.0.1:{silent_port}', str(alive))
        query: dict[str, Any] = {**whole.query, 'host': hosts}
        if told_by == 'environment':
            del query['host']
            monkeypatch.setenv('PGHOST', f'127.0.0.1,{alive}')
            monkeypatch.setenv('PGPORT', f'{silent_port},')
        both = whole.set(host=None, port=None, query=query)
        database = engine.open_database(
            both.render_as_string(hide_password=False), engine.Options(connect_timeout=1)
        )
        with database.reading() as connection:
            assert connection.exec_driver_sql('SELECT 1').scalar() == 1
        database._engine.dispose()


def test_deadline(world, services):
    """Postgres says itself that a query takes too long; if it says nothing, we do."""
    url = re.search('^database = (.*)', fresh(world, services), re.M).group(1)
    database = engine.open_database(url, engine.Options(timeout=1))
    with pytest.raises(Temporary, match='canceling statement due to'):
        with database.reading() as connection:
            connection.exec_driver_sql('SELECT pg_sleep(30)')
    started = time.monotonic()
    with pytest.raises(engine.Unreachable, match='too slow'), database.reading() as connection:
        connection.exec_driver_sql('SET LOCAL statement_timeout = 0')
        connection.exec_driver_sql('SELECT pg_sleep(30)')
    assert 2 <= time.monotonic() - started < 20
    database._engine.dispose()


def test_commits_survive_a_crash_of_postgres(database):
    """The Postgres of the tests, as some of sites, is set not to wait for its log."""

    def waits(connection):
        return connection.exec_driver_sql('SHOW synchronous_commit').scalar()

    with database.reading() as connection:
        assert waits(connection) == 'off'
    with database.writing() as connection:
        assert waits(connection) == 'on'
    with database.reading() as connection:
        assert waits(connection) == 'off'
    with database.writing() as connection:
        connection.exec_driver_sql("SET LOCAL synchronous_commit = 'remote_apply'")
        assert waits(connection) == 'remote_apply'


def test_schema_is_looked_at_once(world, services, monkeypatch):
    """Also by what goes on without a database: each public page asks so."""
    url = re.search('^database = (.*)', fresh(world, services), re.M).group(1)
    database = engine.open_database(url, engine.Options(pool_size=3))
    looked = []
    check = engine.check_schema

    def looking(connection):
        looked.append(connection)
        return check(connection)

    monkeypatch.setattr(engine, 'check_schema', looking)
    for _ in range(3):
        with database.fail_fast.reading():
            pass
    assert len(looked) == 1
    database._engine.dispose()
