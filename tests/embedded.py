"""What the embedded database and store of a server hold, and changes of it."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from world import Server


def store_of(server: Server) -> Path:
    return server.root / '.hg' / 'headless' / 'store'


def objects(server: Server) -> list[Path]:
    return sorted(p for p in store_of(server).rglob('*.hg'))


def rows(server: Server, query: str) -> list[tuple]:
    with sqlite3.connect(server.root / '.hg' / 'headless' / 'catalog.sqlite') as database:
        return database.execute(query).fetchall()


def change(server: Server, statement: str) -> None:
    with sqlite3.connect(server.root / '.hg' / 'headless' / 'catalog.sqlite') as database:
        database.execute(statement)


def make_old(server: Server, seconds: int = 40 * 86400) -> None:
    """As if all had been stored so long ago."""
    for path in [*objects(server), *store_of(server).rglob('.tmp-*')]:
        os.utime(path, (time.time() - seconds,) * 2)
    change(server, f'UPDATE pushes SET date = date - {seconds}')
    change(server, f'UPDATE bundles SET created = created - {seconds}')
