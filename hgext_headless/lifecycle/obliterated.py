"""What was removed for good: the store knows it too, for a database that is lost or older.

One small object for each draft is written before the row of `catalog.bans`, and never deleted.
"""

from __future__ import annotations

import os
import re

from mercurial.node import bin, hex

from ..backend import Backend
from ..bundles.overlay import scratch
from ..catalog import bans
from ..store import object_keys

#: The user and the reason of rows whose objects alone are left.
_USER, _REASON = 'rebuilt', b'found in the store; the database that had the reason is gone'


def note(backend: Backend, node: bytes) -> None:
    """Write to the store that a draft was removed for good."""
    name = hex(node)
    with scratch() as folder:
        path = os.path.join(folder, 'node')
        with open(path, 'wb') as file:
            file.write(name + b'\n')
        key = object_keys.obliterated(backend.settings.repository, name.decode('ascii'))
        backend.store.put(key, path)


def differences(backend: Backend) -> tuple[set[bytes], set[bytes]]:
    """Return the drafts that only the store knows to be removed, and those only the database."""
    prefix = object_keys.obliterations(backend.settings.repository)
    names = (found.key[len(prefix) :] for found in backend.store.objects(prefix))
    noted = {bin(name.encode('ascii')) for name in names if re.fullmatch('[0-9a-f]{40}', name)}
    recorded = backend.catalog.read(bans.nodes)
    return noted - recorded, recorded - noted


def record(backend: Backend, nodes: set[bytes]) -> None:
    """Record again what only the store knows: see `differences`."""
    backend.catalog.write(bans.record, _USER, sorted(nodes), _REASON)
