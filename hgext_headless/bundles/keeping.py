"""Storing bundles and recording them: store first, database last."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Callable, TypeVar

from ..model import Bundle, Vanished
from ..site import Site

T = TypeVar('T')


def keep(
    site: Site,
    files: Iterable[tuple[Bundle, str]],
    record: Callable[[Collection[str]], T],
    between: Callable[[], None] = lambda: None,
) -> T:
    """Upload bundles from their files, call ``between``, then ``record`` their rows.

    ``record`` gets the keys of objects that were stored once more because somebody
    had deleted them meanwhile: see `catalog.doom`. Raises what the store and
    ``record`` raise; then at worst there are objects that nothing points at.
    """
    paths = {bundle.key: path for bundle, path in files}
    for key, path in paths.items():
        site.store.put(key, path)
    between()
    try:
        return record(())
    except Vanished as exc:
        for key in exc.keys:
            site.store.put(key, paths[key])
        return record(exc.keys)
