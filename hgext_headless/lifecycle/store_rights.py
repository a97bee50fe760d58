"""Try what a push server does with the store, and name the right that is missing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

from ..backend import Backend
from ..bundles import write
from ..errors import Corrupt, HeadlessError, Misconfigured, Temporary
from ..store import object_keys


def check(backend: Backend) -> bool:
    """Write, read, list and delete an object; return whether it could be deleted.

    A push server does not need the right to delete: without it, `gc` removes the object later.
    Raise what the store raises; the text names what this server cannot do.
    """
    store, repository = backend.store, backend.settings.repository
    store.check()
    with tempfile.TemporaryDirectory(prefix='hg-headless-') as folder:
        path, back = os.path.join(folder, 'probe'), os.path.join(folder, 'back')
        with open(path, 'wb') as file:
            file.write(b'headless %s\n' % os.urandom(16).hex().encode('ascii'))
        key = object_keys.key(repository, write.digests(path)[0])
        prefix = key[: key.rindex('/') + 1]
        _can('write objects (s3:PutObject)', lambda: store.put(key, path))
        try:
            _can('read objects (s3:GetObject)', lambda: store.get(key, back))
            _can('list objects (s3:ListBucket)', lambda: list(store.objects(prefix)))
        finally:
            try:
                store.delete([key])
                may_delete = True
            except HeadlessError:
                may_delete = False
    return may_delete


def _can(what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except (Misconfigured, Corrupt, Temporary) as exc:
        raise type(exc)(f'this server cannot {what}: {exc}') from exc
