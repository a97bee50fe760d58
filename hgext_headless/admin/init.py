"""``admin::headless-init``: create the schema, check the store, write the requirement."""

from __future__ import annotations

from typing import Any

from .. import hgcompat, place as places, requirement
from ..backend import Backend
from ..catalog import catalog, diagnosis, engine, epochs, migrate, public_log
from ..errors import Refused
from ..lifecycle import delete


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    if opts['remove_requirement']:
        if requirement.change(repo, present=False):
            ui.status(b'removed the requirement "%s"\n' % requirement.NAME)
        return 0
    settings = backend.settings
    if settings.embedded_database:
        catalog.make_home(settings.home)
    before, after = migrate.upgrade(engine.open_database(settings.database), opts['expand'])
    if before is None:
        ui.status(b'created the schema (%s)\n' % hgcompat.to_bytes(after))
    elif before == after:
        ui.status(b'the schema is up to date (%s)\n' % hgcompat.to_bytes(after))
    else:
        ui.status(
            b'upgraded the schema from %s to %s\n'
            % (hgcompat.to_bytes(before), hgcompat.to_bytes(after))
        )
    if backend.catalog.read(diagnosis.may_write):
        if backend.catalog.write(epochs.make):
            name = hgcompat.to_bytes(settings.repository)
            ui.status(b'made the repository "%s" in the database\n' % name)
            if requirement.NAME in repo.requirements:
                ui.warn(
                    b'warning: it has been in a database before: if that is lost, run "hg '
                    b'admin::headless-restored" and "hg admin::headless-rebuild" before anybody '
                    b'pushes\n'
                )
        backend.make_store()
        delete.check(backend)
        _begin_log(ui, repo, backend)
    else:  # on an hgweb server
        backend.store.check()
    ui.status(b'the store is reachable and takes the credentials\n')
    try:
        if requirement.change(repo, present=True):
            ui.status(b'wrote the requirement "%s"\n' % requirement.NAME)
    except Refused as exc:
        # It has drafts itself, which may still be to import.
        ui.warn(b'the requirement was not written: %s\n' % hgcompat.to_bytes(str(exc)))
    return 0


def _begin_log(ui: Any, repo: Any, backend: Backend) -> None:
    """Begin the log of public history here, unless it has begun."""
    if not places.has_log(backend.settings):
        return
    if backend.catalog.write(public_log.begin, places.public_heads(repo)):
        ui.status(b'began the log of public history\n')
