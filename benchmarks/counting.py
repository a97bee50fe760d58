"""Bytes over http: a proxy between client and server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Proxy:
    """Counts what passes through a port of its own to a server's."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{self._listener.getsockname()[1]}/'
        #: Bytes to the server, and from it.
        self.counts = [0, 0]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        # What waits in accept() is not woken by close() alone.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(('127.0.0.1', self._port))
            for which, source, target in ((0, client, server), (1, server, client)):
                threading.Thread(
                    target=self._pump, args=(which, source, target), daemon=True
                ).start()

    def _pump(self, which: int, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.counts[which] += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(url: str) -> Iterator[Proxy]:
    """A proxy to the server at ``url``, for as long as the block."""
    made = Proxy(int(url.rstrip('/').rpartition(':')[2]))
    try:
        yield made
    finally:
        made.close()
