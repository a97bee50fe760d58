"""A store with a replica that is nearer to this server, for reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import HeadlessError
from . import Object, Store


class WithReplica:
    """Uses ``replica`` to read objects and for URLs, and ``store`` for everything else.

    ``store`` is also used if the replica lacks an object or does not answer.
    """

    def __init__(self, store: Store, replica: Store) -> None:
        self._store = store
        self._replica = replica

    def get(self, key: str, path: str) -> None:
        """See `Source.get`."""
        try:
            self._replica.get(key, path)
        except HeadlessError:
            self._store.get(key, path)

    def url(self, key: str, seconds: int) -> str | None:
        """See `Store.url`."""
        return self._nearest(key).url(key, seconds)

    def local_path(self, key: str) -> str | None:
        """See `Store.local_path`."""
        return self._nearest(key).local_path(key)

    def _nearest(self, key: str) -> Store:
        try:
            is_there = self._replica.size(key) is not None
        except HeadlessError:
            is_there = False
        return self._replica if is_there else self._store

    def put(self, key: str, path: str) -> None:
        """See `Store.put`."""
        self._store.put(key, path)

    def size(self, key: str) -> int | None:
        """See `Store.size`."""
        return self._store.size(key)

    def sha256(self, key: str) -> str:
        """See `Store.sha256`: of what `url` leads to."""
        return self._nearest(key).sha256(key)

    def objects(self, prefix: str) -> Iterator[Object]:
        """See `Store.objects`."""
        return self._store.objects(prefix)

    def delete(self, keys: Sequence[str]) -> None:
        """See `Store.delete`."""
        self._store.delete(keys)

    def remove_abandoned(self, repository: str, before: float) -> int:
        """See `Store.remove_abandoned`."""
        return self._store.remove_abandoned(repository, before)

    def check(self) -> None:
        """See `Store.check`."""
        self._store.check()
        self._replica.check()
