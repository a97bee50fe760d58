"""Storing bundles and recording them: store first, database last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable, TypeVar

from ..model import Bundle, Deletions, Vanished
from ..site import Site

T = TypeVar('T')


#: Times that objects which somebody deletes are stored again.
_ATTEMPTS = 3


def keep(
    site: Site,
    files: Iterable[tuple[Bundle, str]],
    record: Callable[[Deletions], T],
    between: Callable[[], None] = lambda: None,
) -> T:
    """Upload bundles from their files, call ``between``, then ``record`` their rows.

    ``record`` gets the deletions after which objects were stored once more, because
    somebody had deleted them meanwhile: see `catalog.doom`. Raises what the store and
    ``record`` raise; then at worst there are objects that nothing points at.
    """
    paths = {bundle.key: path for bundle, path in files}
    for key, path in paths.items():
        site.store.put(key, path)
    between()
    stored_again: Deletions = {}
    for _attempt in range(_ATTEMPTS):
        try:
            return record(stored_again)
        except Vanished as exc:
            for key in exc.deletions:
                site.store.put(key, paths[key])
            stored_again = exc.deletions
    return record(stored_again)
