"""A proxy before the S3 server, which refuses what other stores do not have or do not allow."""

from __future__ import annotations

import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Callable, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """An error as S3 tells it; an answer to HEAD has no body."""

    status: int
    code: str
    message: str = ''


#: Returns what is answered to a request in place of the store, by its method, path and headers.
Rule = Callable[[str, str, 'http.client.HTTPMessage'], 'Answer | None']


class Proxy(ThreadingHTTPServer):
    """``rule`` may be replaced at any time; ``asked`` has the requests that it has answered."""

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.target = urlsplit(endpoint).netloc
        self.rule: Rule = lambda method, path, headers: None
        self.asked: list[str] = []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f'http://127.0.0.1:{self.server_port}'

    def handle_error(self, request: object, client_address: object) -> None:
        """The store was killed, or the client: the connection ends."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: Proxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        answer = self.server.rule(self.command, self.path, self.headers)
        if answer is not None:
            self.server.asked.append(f'{self.command} {self.path}')
            self._reply(answer.status, {}, _xml(answer).encode())
            return
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        # With its own Host, which is signed.
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        response = connection.getresponse()
        headers = {
            name: value
            for name, value in response.getheaders()
            if name.lower() not in ('transfer-encoding', 'connection', 'date', 'server')
        }
        self._reply(response.status, headers, response.read())
        connection.close()

    def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        headers.setdefault('Content-Length', str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def log_message(self, format: str, *args: object) -> None:
        pass


def _xml(answer: Answer) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<Error><Code>{answer.code}</Code><Message>{answer.message}</Message></Error>'
    )
