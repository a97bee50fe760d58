"""The operators' commands."""

from __future__ import annotations

from typing import Any

from mercurial import exthelper

from . import config, hgcompat
from .model import Refused
from .site import Site

eh = exthelper.exthelper()


@eh.command(b'admin::headless-init', [], b'hg admin::headless-init')
def headless_init(ui: Any, repo: Any, **opts: Any) -> int:
    """create or upgrade the database's schema, and check the store

    Run it once on a push server before the first push, and again after each
    upgrade of hgext_headless. It needs a database role that may create tables.
    Running it again changes nothing.

    Returns 0 on success.
    """
    with hgcompat.clear_errors():
        if not config.participates(repo):
            raise Refused('this repository has no [headless] settings')
        site = Site(repo)
        engine = hgcompat.load('hgext_headless.catalog.engine')
        migrate = hgcompat.load('hgext_headless.catalog.migrate')
        if site.settings.embedded_database:
            hgcompat.load('hgext_headless.catalog.catalog').make_home(site.settings.home)
        before, after = migrate.upgrade(engine.open_database(site.settings.database))
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
