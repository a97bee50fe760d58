"""``admin::headless-housekeeping``: expire, gc and verify, for several repositories."""

from __future__ import annotations

from typing import Any

from mercurial import error, hg

from .. import config, errors, hgcompat
from ..backend import Backend
from ..catalog import statistics
from . import expire, gc, verify

_EXPIRE: dict[str, Any] = {'older_than': b'', 'user': [], 'push': [], 'rev': [], 'dry_run': None}
_VERIFY: dict[str, Any] = {'full': None, 'repair': None, 'force': None, 'since': b''}


def run(ui: Any, repo: Any, backend: Backend, *paths: bytes, **opts: Any) -> int:
    failed = 0
    kept = set()
    for path in paths or (repo.root,):
        try:
            other = repo if path == repo.root else hg.repository(repo.baseui, path).unfiltered()
            if not config.participates(other):
                ui.warn(b'%s: this repository has no [headless] settings\n' % path)
                failed += 1
                continue
            one = other.headless
        except (error.Abort, error.RepoError) as exc:
            ui.warn(b'%s\n' % exc)
            failed += 1
            continue
        if one.settings.database == backend.settings.database:
            kept.add(one.settings.repository)
        ui.status(b'%s\n' % hgcompat.to_bytes(one.settings.repository))
        failed += _keep(ui, other, one, opts)
    for found in backend.catalog.read(statistics.by_repository):
        if found.name not in kept:
            ui.warn(
                b'the database has a repository "%s" too, whose path was not given\n'
                % hgcompat.to_bytes(found.name)
            )
    return 1 if failed else 0


def _keep(ui: Any, repo: Any, backend: Backend, opts: dict[str, Any]) -> int:
    """Return how many of the commands failed; say why, and go on with the next."""
    failed = 0
    template = {'template': b''}
    commands: list[tuple[Any, dict[str, Any]]] = [
        (gc, {'grace': opts['grace'], 'force': None, 'dry_run': None}),
        (verify, _VERIFY),
    ]
    if opts['older_than']:
        commands.insert(0, (expire, {**_EXPIRE, 'older_than': opts['older_than']}))
    for module, own in commands:
        try:
            with errors.no_traceback(ui, 'the command', (error.RepoError, error.StdioError)):
                failed += bool(module.run(ui, repo, backend, **own, **template))
        except (error.Abort, error.RepoError) as exc:
            name = backend.settings.repository, module.__name__.rpartition('.')[2]
            ui.warn(b'%s: %s\n' % (hgcompat.to_bytes(': '.join(name)), exc))
            failed += 1
    return failed
