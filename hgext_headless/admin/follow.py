"""``admin::headless-follow``: bring public history here, and log what the log lacks."""

from __future__ import annotations

import time
from typing import Any

from .. import config, place as places
from ..backend import Backend
from ..errors import Refused
from ..replication import append, follow
from . import options

#: Seconds between two looks for what the log lacks: pushes that are under way add theirs.
_MISSING = 60


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    if not places.has_log(backend.settings):
        raise Refused(
            'with the embedded database there is no log of public history: set headless.database'
        )
    if opts['watch']:
        _watch(ui, repo, backend)
    _apply(ui, repo, backend)
    _log_missing(ui, repo, backend)
    return 0


def _watch(ui: Any, repo: Any, backend: Backend) -> None:
    looked = 0.0

    def look() -> None:
        nonlocal looked
        _apply(ui, repo, backend)
        if time.monotonic() - looked > _MISSING:
            _log_missing(ui, repo, backend)
            looked = time.monotonic()

    options.watch(ui, repo, look)


def _apply(ui: Any, repo: Any, backend: Backend) -> None:
    entries = changesets = bookmarks = 0
    with backend.catalog.reading() as session:
        behind = places.lag(repo, session).entries
    with options.progress(ui, b'following', b'entries', behind) as bar:
        while (step := follow.step(repo, backend)) is not None:
            entries += step.entries
            changesets += step.changesets
            bookmarks += step.bookmarks
            bar.update(entries)
    if entries or bookmarks:
        ui.status(
            b'applied %s with %s; moved %s\n'
            % (
                options.number(entries, 'entry'),
                options.number(changesets, 'changeset'),
                options.number(bookmarks, 'bookmark'),
            )
        )


def _log_missing(ui: Any, repo: Any, backend: Backend) -> None:
    if not config.takes_pushes(repo):
        return
    logged = append.append(repo, backend)
    moves = follow.log_bookmarks(repo, backend)
    if logged or moves:
        ui.status(
            b'logged what the log of public history lacked: %s, %s\n'
            % (options.number(logged, 'bundle'), options.number(moves, 'bookmark'))
        )
