"""Delete objects without a row, while pushes are running: see `catalog.deletions`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from ..backend import Backend
from ..catalog import deletions
from ..catalog.engine import Lock
from ..errors import Temporary

#: Number of objects that are marked under one lock of the repository's row.
BATCH = 500


class Deleter:
    """Deletes objects, under a lock that one process holds at a time."""

    def __init__(self, backend: Backend, lock: Lock) -> None:
        self._backend = backend
        self._check_lock = lock

    def finish(self) -> None:
        """Delete all objects that are marked, by this process or by one that was killed."""
        keys = self._backend.catalog.read(deletions.pending)
        for start in range(0, len(keys), BATCH):
            self._delete(keys[start : start + BATCH])

    def remove(self, keys: Sequence[str]) -> list[str]:
        """Delete those of the objects ``keys`` that have no row; return their keys.

        Raise what the store raises. The next `finish` deletes what is left then.
        """
        removed: list[str] = []
        for start in range(0, len(keys), BATCH):
            now = int(time.time())
            marked = self._backend.catalog.write(deletions.mark, keys[start : start + BATCH], now)
            self._delete(marked)
            removed += marked
        return removed

    def _delete(self, keys: Sequence[str]) -> None:
        """Delete the objects ``keys``, which are marked."""
        if keys:
            self._check_lock()
            self._backend.store.delete(keys)
            self._backend.catalog.write(deletions.finish, keys)


@contextlib.contextmanager
def opened(backend: Backend) -> Iterator[Deleter | None]:
    """Yield a `Deleter`; None if another process is deleting."""
    with backend.catalog.exclusive('removal') as lock:
        yield None if lock is None else Deleter(backend, lock)


@contextlib.contextmanager
def required(backend: Backend) -> Iterator[Deleter]:
    """Yield a `Deleter` that has finished interrupted deletions.

    Raise `Temporary` if another process is deleting.
    """
    with opened(backend) as deleter:
        if deleter is None:
            raise Temporary('another gc, expire or obliterate is running in this repository')
        deleter.finish()
        yield deleter
