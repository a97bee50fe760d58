"""A proxy before Postgres, which fails in ways that Postgres does not on demand."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Proxy:
    """Listens on a Unix socket. ``hangs``: says nothing, and takes what comes, which
    ``unanswered`` counts. ``cut_commits``: so many times, Postgres commits a push and nobody
    is told."""

    def __init__(self, folder: Path, target: str) -> None:
        self.folder = folder
        self._target = target
        self.hangs = False
        self.unanswered = 0
        self.cut_commits = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / '.s.PGSQL.5432'))
        self._listener.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self._target)
            records = False
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if self.hangs:
                        self.unanswered += 1
                        continue
                    other = server if ready is client else client
                    if ready is client:
                        records = (records and b'BEGIN' not in data) or b'INTO pushes' in data
                    cut = ready is client and records and b'COMMIT' in data and self.cut_commits
                    other.sendall(data)
                    if cut:
                        self.cut_commits -= 1
                        server.recv(65536)  # it is committed
                        return


@contextlib.contextmanager
def proxy(folder: Path, url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy to the database at a SQLAlchemy URL, and the URL that goes through it."""
    parts = urlsplit(url)
    host = parse_qs(parts.query)['host'][0]
    made = Proxy(folder, f'{host}/.s.PGSQL.5432')
    try:
        yield made, url.replace(parts.query, f'host={folder}')
    finally:
        made.close()
