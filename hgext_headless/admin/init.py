"""``admin::headless-init``: the schema and the store."""

from __future__ import annotations

from typing import Any

from .. import hgcompat
from ..catalog import catalog, engine, migrate
from ..site import Site


def run(ui: Any, repo: Any, site: Site) -> int:
    settings = site.settings
    if settings.embedded_database:
        catalog.make_home(settings.home)
    before, after = migrate.upgrade(engine.open_database(settings.database))
    if before is None:
        ui.status(b'created the schema (%s)\n' % hgcompat.to_bytes(after))
    elif before == after:
        ui.status(b'the schema is up to date (%s)\n' % hgcompat.to_bytes(after))
    else:
        ui.status(
            b'upgraded the schema from %s to %s\n'
            % (hgcompat.to_bytes(before), hgcompat.to_bytes(after))
        )
    site.store.check()
    ui.status(b'the store is there and takes our credentials\n')
    return 0
