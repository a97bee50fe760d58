"""Deleting objects that nothing points at, beside running pushes: see `catalog.doom`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from ..catalog import doom
from ..catalog.engine import Lock
from ..model import Temporary
from ..site import Site

#: Objects for which the repository's row is locked at a time.
BATCH = 500


class Remover:
    """Deletes objects, while it has the lock that only one process has at a time."""

    def __init__(self, site: Site, lock: Lock) -> None:
        self._site = site
        self._still_held = lock

    def finish(self) -> None:
        """Delete whatever is doomed, by this process or by one that was killed."""
        keys = self._site.catalog.read(doom.unfinished)
        for start in range(0, len(keys), BATCH):
            self._delete(keys[start : start + BATCH])

    def remove(self, keys: Sequence[str]) -> list[str]:
        """Delete those of some objects that nothing points at, and return them.

        Raises what the store raises; what is left then is deleted by the next `finish`.
        """
        removed: list[str] = []
        for start in range(0, len(keys), BATCH):
            now = int(time.time())
            free = self._site.catalog.write(doom.doom, keys[start : start + BATCH], now)
            self._delete(free)
            removed += free
        return removed

    def _delete(self, keys: Sequence[str]) -> None:
        """Delete objects that are doomed."""
        if keys:
            self._still_held()
            self._site.store.delete(keys)
            self._site.catalog.write(doom.deleted, keys)


@contextlib.contextmanager
def opened(site: Site) -> Iterator[Remover | None]:
    """A `Remover`; None where another process removes things now."""
    with site.catalog.exclusive('removal') as lock:
        yield None if lock is None else Remover(site, lock)


@contextlib.contextmanager
def required(site: Site) -> Iterator[Remover]:
    """A `Remover`, which has finished what others left. Raises `Temporary` where another
    process removes things now."""
    with opened(site) as remover:
        if remover is None:
            raise Temporary('another gc, expire or forget is running in this repository')
        remover.finish()
        yield remover
