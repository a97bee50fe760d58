"""Stock hg as a command server (``hg help internals``: one process, many commands).

For what people do with stock hg: an hg process each would take longer than all else.
"""

from __future__ import annotations

import os
import struct
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandServer:
    """``hg serve --cmdserver pipe``, with an environment of its own."""

    def __init__(self, hg: str, folder: Path, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [hg, 'serve', '--cmdserver', 'pipe'],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._message()  # its greeting
        self._busy = threading.Lock()

    def run(
        self, args: Sequence[str | bytes | Path], cwd: Path, timeout: float = 180
    ) -> tuple[int, bytes]:
        """Exit code and output, standard error included."""
        with self._busy:
            clock = threading.Timer(timeout, self._process.kill)
            clock.start()
            try:
                return self._run(args, cwd)
            except struct.error:  # nothing came
                raise TimeoutError(f'hg {args}: its command server is gone') from None
            finally:
                clock.cancel()

    def _run(self, args: Sequence[str | bytes | Path], cwd: Path) -> tuple[int, bytes]:
        words = [b'--cwd', os.fsencode(cwd), *map(os.fsencode, args)]
        data = b'\0'.join(words)
        assert self._process.stdin is not None
        self._process.stdin.write(b'runcommand\n' + struct.pack('>I', len(data)) + data)
        self._process.stdin.flush()
        output = b''
        while True:
            channel, text = self._message()
            if channel == b'r':
                return struct.unpack('>i', text)[0], output
            if channel in b'oe':
                output += text
            elif channel.isupper():  # it asks for input, and gets none
                self._process.stdin.write(struct.pack('>I', 0))
                self._process.stdin.flush()

    def _message(self) -> tuple[bytes, bytes]:
        assert self._process.stdout is not None
        channel, length = struct.unpack('>cI', self._process.stdout.read(5))
        if channel.isupper():
            return channel, b''
        return channel, self._process.stdout.read(length)

    @property
    def is_busy(self) -> bool:
        return self._busy.locked()

    @property
    def is_gone(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        finally:
            self._process.stdout.close()
