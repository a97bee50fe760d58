"""``admin::headless-rename``: rename a repository in the database and the store."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from .. import config, hgcompat
from ..backend import Backend
from ..bundles.overlay import FOLDER_PREFIX
from ..catalog import repositories
from ..errors import Refused
from ..lifecycle import deletion
from ..store import object_keys
from . import cli

#: Objects that are copied between two transactions.
_BATCH = 50


def run(ui: Any, repo: Any, backend: Backend, old: bytes, new: bytes, **opts: Any) -> int:
    before, after = hgcompat.to_str(old), hgcompat.to_str(new)
    config.check_name(after)
    there = {found.name: found for found in backend.catalog.read(repositories.all_of)}
    if before not in there:
        raise Refused(f'the database has no repository "{hgcompat.escaped(old)}"')
    if after in there:
        raise Refused(f'the database has a repository "{after}" already')
    other = backend.of(before)
    with deletion.required(other) as deleter:
        with cli.progress(ui, b'renaming', b'objects', there[before].bundles) as bar:
            while True:
                while keys := other.catalog.read(repositories.keys_of, _BATCH):
                    other.catalog.write(repositories.set_keys, _copied(other, keys, after))
                    deleter.remove(keys)
                    bar.increment(len(keys))
                # Objects without a row, which `headless-rebuild` may want.
                for prefix in object_keys.prefixes(before):
                    found = (each.key for each in other.store.objects(prefix))
                    left = list(filter(object_keys.is_key, found))
                    _copied(other, left, after)
                    deleter.remove(left)
                if other.catalog.write(repositories.rename, after):
                    break
    ui.status(
        b'renamed "%s" to "%s": set headless.repository on all its servers\n' % (old, new)
    )
    return 0


def _copied(backend: Backend, keys: list[str], name: str) -> list[tuple[str, str]]:
    """Copy objects to the keys that they have in repository ``name``; return old and new keys."""
    renamed = [(key, object_keys.key(name, object_keys.digest(key))) for key in keys]
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
        path = os.path.join(folder, 'object')
        for old, new in renamed:
            backend.store.get(old, path)
            backend.store.put(new, path)
    return renamed
