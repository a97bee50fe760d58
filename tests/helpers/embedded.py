"""What the embedded store of a server holds, and changes of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from helpers.world import Server


def store_of(server: Server) -> Path:
    return server.root / '.hg' / 'headless' / 'store'


def objects(server: Server) -> list[Path]:
    return sorted(p for p in store_of(server).rglob('*.hg'))


def make_old(server: Server, seconds: int = 40 * 86400) -> None:
    """As if all had been stored so long ago."""
    for path in [*objects(server), *store_of(server).rglob('.tmp-*')]:
        os.utime(path, (time.time() - seconds,) * 2)
    server.sql(f'UPDATE pushes SET date = date - {seconds}')
    server.sql(f'UPDATE bundles SET created = created - {seconds}')
