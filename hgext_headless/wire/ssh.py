"""The process that serves one client over ssh: while the client is silent, and at its end.

All of it happens in the main thread, between an answer and the next request. So no two threads run
Python, which lazily imported modules do not support, and a request waits for one step at most.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import sys
from collections.abc import Callable
from typing import Any

from mercurial import wireprotoserver

from .. import config, errors, hgcompat, lazy
from ..backend import Backend
from ..errors import Refused

#: Seconds of silence after which the database gets its connections back.
_PATIENCE = 0.3
#: Maximum size in bytes of an argument, or of a chunk of a push: it is read at once. hg's chunks
#: have 4 KB.
_MAX_READ = 64 * 1024 * 1024

#: The client that this process serves, if it is one of a headless repository.
_clients: list[Requests] = []


class Requests:
    """The stream of a client's requests."""

    def __init__(self, stream: Any, backend: Backend) -> None:
        self._stream = stream
        self._backend = backend
        self._expects_push = False
        self._steps: list[Callable[[], None]] = []
        self._poller = select.poll()
        self._poller.register(stream.fileno(), select.POLLIN)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: int) -> bytes:
        if size > _MAX_READ:
            with errors.clear_errors():
                raise Refused(f'an argument or a chunk may not have {size} bytes')
        data: bytes = self._stream.read(size)
        return data

    def readline(self) -> bytes:
        while self._steps and not self._has_sent(within=0):
            # An error occurs again, and is reported, where the push needs it.
            with contextlib.suppress(Exception), lazy.without_gc():
                self._steps.pop(0)()
        if self._backend.is_opened() and not self._has_sent(within=_PATIENCE):
            self._backend.disconnect()
        line: bytes = self._stream.readline(_MAX_READ)
        if line == b'unbundle\n':
            self.expect_push()
        return line

    def expect_push(self) -> None:
        """Prepare for a push while the client is silent."""
        if not self._expects_push:
            self._expects_push = True
            self._steps = self._backend.steps()

    def _has_sent(self, within: float) -> bool:
        """Return whether the client sends more, or ends, within that many seconds."""
        descriptor = self._stream.fileno()
        os.set_blocking(descriptor, False)
        try:
            if self._stream.peek(1):
                return True
        finally:
            os.set_blocking(descriptor, True)
        return bool(self._poller.poll(within * 1000))


def install() -> None:
    hgcompat.wrap_once(wireprotoserver, '_runsshserver', _serve)
    hgcompat.wrap_commands(known=_known)


def _serve(orig: Any, ui: Any, repo: Any, fin: Any, *args: Any, **kwargs: Any) -> None:
    if not config.participates(repo):
        return orig(ui, repo, fin, *args, **kwargs)
    fin = Requests(fin, repo.headless)
    _clients[:] = [fin]
    orig(ui, repo, fin, *args, **kwargs)
    atexit.register(_end)
    return None


def _known(orig: Any, repo: Any, proto: Any, nodes: Any, others: Any) -> Any:
    """The wire command ``known``: a client that has what public history lacks may push it."""
    answer = orig(repo, proto, nodes, others)
    if b'0' in answer.data and _clients and config.participates(repo):
        _clients[0].expect_push()
    return answer


def _end() -> None:
    """Do what is registered to be done at the end of the process, and end it.

    The client waits for it, and Python would take 0.1 to 0.3 s to free all that was imported.
    """
    atexit.unregister(_end)
    try:
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(0)
