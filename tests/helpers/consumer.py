"""A reference consumer of announcements: a webhook that checks signatures and drops repetitions."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Consumer:
    """Serves on localhost; ``pushes`` are those that it has taken, by id, in order.

    ``status`` is what it answers next. What it answers with an error, it has not taken. While
    ``hold`` is set, it does not answer what it has taken, and sets ``held``.
    """

    def __init__(self, secret: bytes = b'') -> None:
        self.secret = secret
        self.status = 200
        self.hold, self.held = threading.Event(), threading.Event()
        self.pushes: dict[int, Any] = {}
        self.order: list[int] = []
        self.wrong: list[str] = []
        consumer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers['Content-Length']))
                status = consumer.take(body, dict(self.headers))
                while consumer.hold.is_set():
                    consumer.held.set()
                    time.sleep(0.05)
                self.send_response(status)
                if status == 302:
                    self.send_header('Location', 'http://127.0.0.1:1/')
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self._server.server_address[1]}/hook'
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        if self.secret:
            expected = 'sha256=' + hmac.new(self.secret, body, hashlib.sha256).hexdigest()
            if not hmac.compare_digest(headers.get('X-Hub-Signature-256', ''), expected):
                self.wrong.append('signature')
                return 403
        if self.status != 200:
            return self.status
        [(push_id, push)] = json.loads(body)['pushes'].items()
        if headers['X-Headless-Push'] != push_id:
            self.wrong.append(f'{headers} {push_id}')
        if int(push_id) not in self.pushes:
            self.pushes[int(push_id)] = push
        self.order.append(int(push_id))
        return 200

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
