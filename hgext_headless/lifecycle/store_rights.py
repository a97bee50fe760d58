"""Try what a push server does with the store, and name what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..backend import Backend
from ..bundles.overlay import scratch
from ..errors import Corrupt, Misconfigured, Temporary
from ..store import object_keys


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
        key = object_keys.probe(repository)
        _can('write objects (s3:PutObject)', lambda: store.put(key, path))
        try:
            _can('read objects (s3:GetObject)', lambda: store.get(key, back))
            _can(
                'list objects (s3:ListBucket)',
                lambda: list(store.objects(object_keys.probes(repository))),
            )
            if _is_overwritten(lambda: store.put(key, other)):
                raise Misconfigured(
                    'the store ignores If-None-Match: it overwrites objects that are there'
                )
        finally:
            undeleted = store.delete([key])
    for each in undeleted:
        if not each.is_denied:
            raise Misconfigured(f'the store does not delete objects: {each.said}')
    return not undeleted


def _is_overwritten(put: Callable[[], None]) -> bool:
    """Return whether ``put``, of other content under a key that exists, succeeds."""
    try:
        put()
    except Temporary:
        return False
    return True


def _can(what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except (Misconfigured, Corrupt, Temporary) as exc:
        raise type(exc)(f'this server cannot {what}: {exc}') from exc
