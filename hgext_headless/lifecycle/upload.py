"""Store bundles, then record them: an object is stored before its row."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import Callable, TypeVar

from .. import lazy
from ..backend import Backend
from ..errors import Deletions, Temporary, Vanished
from ..model import Bundle
from . import delete

T = TypeVar('T')

#: Bundles to store, with the paths of their files.
Files = Sequence[tuple[Bundle, str]]

#: Number of files from which on threads are worth their cost, and maximum number of threads.
_MANY, _TOGETHER = 8, 8
#: Age in seconds at which a push has certainly ended, on any host: nobody uses what it left.
LONGEST_PUSH = 86400
#: How often objects are stored again if another process deletes them.
_ATTEMPTS = 3


def put(backend: Backend, files: Files) -> None:
    """Upload bundles from their files, several at a time. After an error, some may be there."""
    _together(backend.store.put, [(bundle.key, path) for bundle, path in files])


def lost(backend: Backend, sizes: Mapping[str, int]) -> set[str]:
    """Return the keys of objects that the store does not have, or not in these sizes (bytes)."""
    found = _together(backend.store.size, [(key,) for key in sizes])
    return {key for key, size in zip(sizes, found) if size != sizes[key]}


def _together(function: Callable[..., T], calls: Sequence[tuple[str, ...]]) -> list[T]:
    """Return the results of calls of a method of the store, made by threads if there are many."""
    if len(calls) < _MANY:
        return [function(*args) for args in calls]
    # If two threads are the first to use a deferred module, they find it half loaded. Uploads
    # have failed because of this.
    lazy.settle()
    with futures.ThreadPoolExecutor(min(_TOGETHER, len(calls))) as pool:
        return list(pool.map(function, *zip(*calls)))


def stored(backend: Backend, files: Files, change: Callable[..., T], *args: object) -> T:
    """Do what `put` does, and then `recorded` with ``change(session, *args, deletions)``."""
    put(backend, files)
    return recorded(backend, files, functools.partial(backend.catalog.write, change, *args))


def recorded(backend: Backend, files: Files, record: Callable[[Deletions], T]) -> T:
    """Call ``record``, which writes the rows of uploaded bundles, and return its result.

    If another process deleted objects of ``files`` meanwhile, store them again and call
    ``record`` with these deletions: see `catalog.deletions`. Raise what the store and
    ``record`` raise.
    """
    paths = {bundle.key: path for bundle, path in files}
    stored_again: Deletions = {}
    for _attempt in range(_ATTEMPTS):
        try:
            return record(stored_again)
        except Vanished as exc:
            if exc.unfinished:
                _finish(backend, exc.unfinished)
            for key in exc.deletions:
                backend.store.put(key, paths[key])
            stored_again = exc.deletions
    return record(stored_again)


def _finish(backend: Backend, keys: Sequence[str]) -> None:
    """Finish deletions that were interrupted. If this server may not delete, they are refused."""
    with delete.opened(backend) as deleter:
        if deleter is None:
            raise Temporary('the store is deleting an object of the same content')
        deleter.finish(keys)
