"""``admin::headless-follow``: bring public history here, and log what the log lacks."""

from __future__ import annotations

import time
from typing import Any

from .. import hgcompat, replica
from ..backend import Backend
from ..errors import Refused, Temporary
from ..history import append, follow, place as places
from . import cli

#: Seconds after which ``--watch`` looks if nobody wakes it, on Postgres and elsewhere.
_NOTIFIED, _POLLING = 10, 1
#: Seconds between two looks for what the log lacks: pushes that are under way add theirs.
_MISSING = 60
#: Seconds to wait after an error, at first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 1, 30


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    if not append.is_kept(backend.settings):
        raise Refused(
            'with the embedded database there is no log of public history: set headless.database'
        )
    if opts['watch']:
        _watch(ui, repo, backend)
    _apply(ui, repo, backend)
    _log_missing(ui, repo, backend)
    return 0


def _watch(ui: Any, repo: Any, backend: Backend) -> None:
    is_postgres = backend.settings.database.startswith('postgresql')
    pause = _FIRST_PAUSE
    looked = 0.0
    while True:
        try:
            with backend.catalog.listening() as wait:
                while True:
                    _apply(ui, repo, backend)
                    if time.monotonic() - looked > _MISSING:
                        _log_missing(ui, repo, backend)
                        looked = time.monotonic()
                    ui.flush()
                    pause = _FIRST_PAUSE
                    wait(_NOTIFIED if is_postgres else _POLLING)
        except Temporary as exc:
            ui.warn(b'%s\n' % hgcompat.to_bytes(exc.line()))
        ui.flush()
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _apply(ui: Any, repo: Any, backend: Backend) -> None:
    entries = changesets = bookmarks = 0
    behind = _behind(repo, backend)
    with cli.progress(ui, b'following', b'entries', behind) as bar:
        while (step := follow.step(repo, backend)) is not None:
            entries += step.entries
            changesets += step.changesets
            bookmarks += step.bookmarks
            bar.update(entries)
    if entries or bookmarks:
        ui.status(
            b'applied %d entries with %d changesets; moved %d bookmarks\n'
            % (entries, changesets, bookmarks)
        )


def _behind(repo: Any, backend: Backend) -> int:
    with backend.catalog.reading() as session:
        state, place = session.public_log_state(), places.find(repo, session)
    return state.position - place.position if state and place else 0


def _log_missing(ui: Any, repo: Any, backend: Backend) -> None:
    if not replica.takes_pushes(repo):
        return
    logged = append.append(repo, backend)
    moves = follow.unlogged_bookmarks(repo, backend)
    if moves:
        with repo.lock():  # without those that a push is about to record
            moves = follow.unlogged_bookmarks(repo, backend)
            append.append(repo, backend, moves)
    if logged or moves:
        ui.status(
            b'logged what the log of public history lacked: %d bundles, %d bookmarks\n'
            % (logged, len(moves))
        )
