"""Connections to Postgres, in this process."""

from __future__ import annotations

import gc
import os
import re
import resource
import time

import pytest
from conftest import fresh

from hgext_headless.catalog import engine
from hgext_headless.errors import Temporary


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
        with database.impatient.reading():
            pass
    assert len(looked) == 1
    database._engine.dispose()
