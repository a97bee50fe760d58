"""A load balancer: each request goes to the next server; or a proxy before one."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable
from urllib.parse import urlsplit


@contextlib.contextmanager
def balanced(
    *urls: str, before: Callable[[str, str], None] = lambda method, path: None, prefix: str = ''
) -> Iterator[str]:
    """The URL of a balancer before some servers; ``before`` is called for each request, and
    ``prefix`` taken from the path, without which nothing is there."""
    turns = itertools.cycle(urls)

    class Handler(BaseHTTPRequestHandler):
        def _forward(self) -> None:
            before(self.command, self.path)
            if not self.path.startswith(f'{prefix}/'):
                self.send_error(404)
                return
            server = http.client.HTTPConnection(urlsplit(next(turns)).netloc, timeout=120)
            body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
            path = self.path[len(prefix) :]
            server.request(self.command, path, body, dict(self.headers))
            answer = server.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ('transfer-encoding', 'content-length', 'connection'):
                    self.send_header(name, value)
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            server.close()

        do_GET = do_POST = _forward

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}{prefix}/'
    finally:
        server.shutdown()
        server.server_close()
