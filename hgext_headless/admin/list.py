"""``admin::headless-list``: the repositories of the database."""

from __future__ import annotations

from typing import Any

from mercurial.utils import dateutil

from .. import hgcompat
from ..backend import Backend
from ..catalog import repositories


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    with ui.formatter(b'headless-list', hgcompat.formatter_options(opts)) as fm:
        for found in backend.catalog.read(repositories.all_of):
            fm.startitem()
            fm.write(b'name last_push_id', b'%-30s %8d', hgcompat.to_bytes(found.name), found[1])
            date = b'never'
            if found.last_push is not None:
                date = dateutil.datestr((found.last_push, 0), b'%Y-%m-%d %H:%M')
            fm.plain(b'  %-16s' % date)
            fm.data(last_push=found.last_push, size=found.bytes)
            fm.write(b'bundles', b' %8d bundles', found.bundles)
            fm.plain(b'  %s\n' % hgcompat.byte_count(found.bytes))
    return 0
