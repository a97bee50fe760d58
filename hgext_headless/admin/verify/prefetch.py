"""Objects that are fetched before they are asked for, several at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from concurrent import futures

from ... import lazy
from ...store import Source, object_keys

#: Objects that are fetched at a time, and at most wait on the disk.
_TOGETHER = 8


class Prefetch:
    """A source of ``keys``, which are asked for in this order, each once or not at all."""

    def __init__(self, source: Source, keys: Iterable[str], folder: str) -> None:
        self._source = source
        self._keys = iter(keys)
        self._folder = folder
        lazy.settle()  # two threads must not be the first to use a deferred module
        self._pool = futures.ThreadPoolExecutor(_TOGETHER)
        self._fetched: dict[str, futures.Future[None]] = {}
        for _ in range(_TOGETHER):
            self._fetch_next()

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, f'prefetched-{object_keys.digest(key)}')

    def _fetch_next(self) -> None:
        key = next(self._keys, None)
        if key is not None:
            self._fetched[key] = self._pool.submit(self._source.get, key, self._path(key))

    def get(self, key: str, path: str) -> None:
        """See `Source.get`."""
        fetched = self._fetched.pop(key, None)
        if fetched is None:
            self._source.get(key, path)
            return
        self._fetch_next()
        fetched.result()
        shutil.move(self._path(key), path)

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown()
