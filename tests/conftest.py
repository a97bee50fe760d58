from __future__ import annotations

import functools
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from helpers import services as running
from helpers.world import Clone, Server, World

_numbers = itertools.count()


@pytest.fixture(scope='session')
def services() -> Iterator[running.Services]:
    """One Postgres and one SeaweedFS for each process of the test run."""
    # Postgres runs as another user where we are root: the folder must be reachable.
    folder = Path(tempfile.mkdtemp(prefix='headless-services-'))
    folder.chmod(0o755)
    pgdata, s3data = folder / 'pg', folder / 's3'
    s3data.mkdir()
    weed = running.Weed(s3data)
    weed.launch()
    try:
        with running.postgres(pgdata) as database:
            weed.wait()
            yield running.Services(database, weed.endpoint)
    finally:
        weed.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)  # without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a file run in one process, so that what a module starts is started once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log) if config.getvalue('dist') == 'load' else None


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def make_server(world: World, request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """Servers; ``backend`` is 'services' (Postgres and S3) or 'embedded'."""
    made: list[Server] = []

    def make(backend: str = 'embedded', settings: str = '', **kwargs) -> Server:
        if backend == 'services':
            settings = fresh(world, request.getfixturevalue('services')) + settings
        server = Server(world, settings=settings, **kwargs)
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()
        errors = server.errors()
        assert 'Traceback' not in errors, errors


def fresh(world: World, services: running.Services) -> str:
    """Settings for a database of its own, which has the schema."""
    name = f'test{os.getpid()}_{next(_numbers)}'
    running.execute(services, f'CREATE DATABASE {name} TEMPLATE {_with_schema(services)}')
    world.env.update(AWS_ACCESS_KEY_ID=running.ACCESS_KEY, AWS_SECRET_ACCESS_KEY=running.SECRET_KEY)
    return (
        f'database = {services.database.format(name=name)}\n'
        f'store = s3://{running.BUCKET}/{name}\n'
        f's3-endpoint-url = {services.endpoint}\ns3-region = us-east-1\n'
        'link-secret = not-so-secret\n'
    )


def empty_database(services: running.Services) -> str:
    """The SQLAlchemy URL of a new database."""
    name = f'test{os.getpid()}_{next(_numbers)}'
    running.execute(services, f'CREATE DATABASE {name}')
    return services.database.format(name=name)


@pytest.fixture
def settings(world: World, services: running.Services) -> str:
    """Settings for several servers of a test: see `fresh`."""
    return fresh(world, services)


@functools.cache
def _with_schema(services: running.Services) -> str:
    """A database with the schema and the repository ``try``, made once for each process of the
    tests."""
    name = f'made{os.getpid()}'
    running.execute(services, f'CREATE DATABASE {name}')
    script = (
        'import sys\n'
        'from hgext_headless.catalog import catalog, engine, epochs, migrate\n'
        'database = engine.open_database(sys.argv[1])\n'
        'migrate.upgrade(database)\n'
        'catalog.Catalog(database, "try").write(epochs.make)\n'
    )
    url = services.database.format(name=name)
    subprocess.run([sys.executable, '-c', script, url], check=True)
    return name


#: Back ends of a server; many tests are about the embedded one alone.
EITHER = ['services', pytest.param('embedded', marks=pytest.mark.slow)]


@pytest.fixture(params=EITHER)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


# What people push and pull over counts; many other tests go by path.
@pytest.fixture(params=[pytest.param('path', marks=pytest.mark.slow), 'http', 'ssh'])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


#: Pushes, pulls and publishing, and all that is about phases, which ssh tells otherwise.
_OVER_SSH = (
    'test_draft_becomes_public',
    'test_each_push_leaves_drafts_drafts',
    'test_incoming_tells_the_phases',
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By ssh, where each connection starts an hg of the server, goes what `_OVER_SSH` names;
    elsewhere it is a slow twin of http."""
    for item in items:
        params = item.callspec.params if hasattr(item, 'callspec') else {}
        if getattr(item, 'originalname', '') in _OVER_SSH:
            continue
        chosen = any('transport' in str(m.args[0]) for m in item.iter_markers('parametrize'))
        if params.get('transport') == 'ssh' and not chosen:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope='session')
def _embedded(tmp_path_factory) -> Iterator[tuple[Path, list[str]]]:
    """What `embedded` copies, made once for each process of the tests."""
    world = World(tmp_path_factory.mktemp('embedded'))
    server = Server(world)
    alice = world.clone(str(server.root), 'alice')
    nodes = [alice.commit('a')]
    alice.hg_fast('push', '-q')
    nodes.append(alice.commit('b'))
    alice.hg('push', '-q', '-f', '-r', '.', env={'USER': 'bob'})
    alice.hg_fast('update', '-q', '0')
    nodes += [alice.commit('c'), alice.commit('d')]
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    # Whoever has the database open may have written what is in its journal alone.
    server.sql('PRAGMA wal_checkpoint(TRUNCATE)')
    yield world.folder, nodes
    world.stop()


@pytest.fixture
def embedded(world, make_server, _embedded) -> tuple[Server, Clone, list[str]]:
    """A server with a stack of two pushes, by alice and bob, and a push of two more."""
    made, nodes = _embedded
    server = make_server('embedded', copied=made / 'server')
    shutil.copytree(made / 'alice', world.folder / 'alice')
    alice = Clone(world, world.folder / 'alice')
    (alice.root / '.hg' / 'hgrc').write_text(f'[paths]\ndefault = {server.root}\n')
    return server, alice, list(nodes)
