"""Store bundles, then record them: the object is there before its row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable, TypeVar

from ..backend import Backend
from ..errors import Deletions, Vanished
from ..model import Bundle

T = TypeVar('T')

#: Bundles to store, with their files' paths.
Files = Sequence[tuple[Bundle, str]]

#: Times that objects which somebody deletes are stored again.
_ATTEMPTS = 3


def put(backend: Backend, files: Files) -> None:
    """Upload bundles from their files. Raises what the store raises; then at worst there
    are objects that nothing points at."""
    for bundle, path in files:
        backend.store.put(bundle.key, path)


def recorded(backend: Backend, files: Files, record: Callable[[Deletions], T]) -> T:
    """Call ``record``, which writes the rows of uploaded bundles, and return its result.

    It gets the deletions after which objects were stored once more, because somebody had
    deleted them meanwhile: see `catalog.deletions`. Raises what the store and it raise.
    """
    paths = {bundle.key: path for bundle, path in files}
    stored_again: Deletions = {}
    for _attempt in range(_ATTEMPTS):
        try:
            return record(stored_again)
        except Vanished as exc:
            for key in exc.deletions:
                backend.store.put(key, paths[key])
            stored_again = exc.deletions
    return record(stored_again)
