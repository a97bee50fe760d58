"""Delete objects without a row, while pushes are running: see `catalog.deletions`."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence

from .. import store as stores
from ..backend import Backend
from ..bundles.overlay import scratch
from ..catalog import bundle_rows, deletions, diagnosis
from ..catalog.coordination import Lock
from ..catalog.statements import batches
from ..errors import Corrupt, Misconfigured, Temporary
from ..store import Object, Undeleted


class Deleter:
    """Deletes objects, under a lock that one process holds at a time.

    ``undeleted`` are those that the store refused to delete. They are in nobody's way.
    """

    def __init__(self, backend: Backend, lock: Lock) -> None:
        self._backend = backend
        self._check_lock = lock
        self.undeleted: dict[str, Undeleted] = {}

    def finish(self, keys: Sequence[str] | None = None) -> None:
        """Delete the objects that are marked, by anybody, or those of them with ``keys``."""
        if keys is None:
            keys = self._backend.catalog.read(deletions.pending)
        for batch in batches(keys):
            self._delete(batch)

    def try_again(self) -> None:
        """Delete the objects that the store refused to delete earlier."""
        self.remove(self._backend.catalog.read(deletions.refused))

    def remove(self, keys: Sequence[str]) -> list[str]:
        """Delete those of the objects ``keys`` that have no row; return the keys that are gone.

        Raise what the store raises. The next `finish` deletes what is left then.
        """
        removed: list[str] = []
        for batch in batches(keys):  # for each, the repository's row is locked
            removed += self._delete(self._backend.catalog.write(deletions.mark, batch))
        return removed

    def _delete(self, keys: Sequence[str]) -> list[str]:
        if not keys:
            return []
        self._check_lock()
        refused = {each.key: each for each in self._backend.store.delete(keys)}
        self._backend.catalog.write(deletions.finish, keys, list(refused))
        self.undeleted.update(refused)
        return [key for key in keys if key not in refused]


def without_row(backend: Backend, found: Iterable[Object]) -> list[Object]:
    """Return those of the objects ``found`` that have the name of a bundle, and no row."""
    ours = {each.key: each for each in found if stores.is_key(each.key)}
    with_row = backend.catalog.read(bundle_rows.with_row, ours)
    return [each for key, each in ours.items() if key not in with_row]


@contextlib.contextmanager
def opened(backend: Backend) -> Iterator[Deleter | None]:
    """Yield a `Deleter`; None if another process is deleting.

    Raise `Misconfigured` if the objects are those of another database.
    """
    check_database(backend, claim=True)
    with backend.catalog.exclusive('removal') as lock:
        yield None if lock is None else Deleter(backend, lock)


def check_database(backend: Backend, claim: bool = False) -> None:
    """Raise `Misconfigured` if the store says that its objects are those of another database.

    Only one that knows of all may delete: a copy of it, as for a trial, knows nothing of what is
    pushed later. If the store says nothing, ``claim`` them.
    """
    own = backend.catalog.read(diagnosis.identity)
    if own is None:
        return
    prefix = stores.database(backend.settings.repository)
    noted = [found.key for found in backend.store.objects(prefix)]
    others = [key for key in noted if key != prefix + own]
    if others:
        raise Misconfigured(
            f'another database has these objects: if this one ({own}) has taken its place, delete '
            f'{others[0]} from the store'
        )
    if claim and not noted:
        with scratch() as folder:
            path = os.path.join(folder, 'database')
            with open(path, 'w') as file:
                file.write(f'{own}\n')
            backend.store.put(prefix + own, path)


@contextlib.contextmanager
def required(backend: Backend) -> Iterator[Deleter]:
    """Yield a `Deleter` that has finished interrupted deletions.

    Raise `Temporary` if another process is deleting.
    """
    with opened(backend) as deleter:
        if deleter is None:
            raise Temporary('another gc, expire or obliterate is running in this repository')
        deleter.finish()
        deleter.try_again()
        yield deleter


def check(backend: Backend) -> bool:
    """Write, read, list and delete an object; return whether this server may delete.

    A push server does not need that right: without it, `gc` removes the object later. Raise what
    the store raises; the text names what this server, or the store, cannot do.
    """
    store, repository = backend.store, backend.settings.repository
    store.check()
    with scratch() as folder:
        path, other, back = (os.path.join(folder, name) for name in ('probe', 'other', 'back'))
        for name in (path, other):
            with open(name, 'wb') as file:
                file.write(b'headless %s\n' % os.urandom(16).hex().encode('ascii'))
        key = stores.probes(repository) + secrets.token_hex(16)
        _can('write objects (s3:PutObject)', lambda: store.put(key, path))
        try:
            _can('read objects (s3:GetObject)', lambda: store.get(key, back))
            _can(
                'list objects (s3:ListBucket)',
                lambda: list(store.objects(stores.probes(repository))),
            )
            try:
                store.put(key, other)
            except Temporary:  # it has other content under this name
                pass
            else:
                raise Misconfigured(
                    'the store ignores If-None-Match: it overwrites objects that are there'
                )
        finally:
            undeleted = store.delete([key])
    for each in undeleted:
        if not each.is_denied:
            raise Misconfigured(f'the store does not delete objects: {each.said}')
    return not undeleted


def _can(what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except (Misconfigured, Corrupt, Temporary) as exc:
        raise type(exc)(f'this server cannot {what}: {exc}') from exc
