"""Deleting objects that nothing points at, beside running pushes: see `catalog.deletions`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from ..backend import Backend
from ..catalog import deletions
from ..catalog.engine import Lock
from ..errors import Temporary

#: Objects for which the repository's row is locked at a time.
BATCH = 500


class Deleter:
    """Deletes objects, while it has the lock that only one process has at a time."""

    def __init__(self, backend: Backend, lock: Lock) -> None:
        self._backend = backend
        self._still_held = lock

    def finish(self) -> None:
        """Delete all that is marked, by this process or by one that was killed."""
        keys = self._backend.catalog.read(deletions.pending)
        for start in range(0, len(keys), BATCH):
            self._delete(keys[start : start + BATCH])

    def remove(self, keys: Sequence[str]) -> list[str]:
        """Delete those of some objects that nothing points at, and return them.

        Raises what the store raises; what is left then is deleted by the next `finish`.
        """
        removed: list[str] = []
        for start in range(0, len(keys), BATCH):
            now = int(time.time())
            free = self._backend.catalog.write(deletions.mark, keys[start : start + BATCH], now)
            self._delete(free)
            removed += free
        return removed

    def _delete(self, keys: Sequence[str]) -> None:
        """Delete objects that are marked."""
        if keys:
            self._still_held()
            self._backend.store.delete(keys)
            self._backend.catalog.write(deletions.finish, keys)


@contextlib.contextmanager
def opened(backend: Backend) -> Iterator[Deleter | None]:
    """A `Deleter`; None where another process removes things now."""
    with backend.catalog.exclusive('removal') as lock:
        yield None if lock is None else Deleter(backend, lock)


@contextlib.contextmanager
def required(backend: Backend) -> Iterator[Deleter]:
    """A `Deleter`, which has finished what others left. Raises `Temporary` where another
    process removes things now."""
    with opened(backend) as deleter:
        if deleter is None:
            raise Temporary('another gc, expire or obliterate is running in this repository')
        deleter.finish()
        yield deleter
