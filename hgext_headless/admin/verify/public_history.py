"""Check the log of public history: its positions, its objects, and what it lacks."""

from __future__ import annotations

import os
from typing import Any

from mercurial.node import hex

from ... import hgcompat, place as places
from ...backend import Backend
from ...bundles import overlay as overlays
from ...catalog import public_log
from ...errors import Corrupt, HeadlessError
from ...model import Bundle, LogEntry
from ...replication import append, follow
from .. import options
from .report import Missing, Report, check_object

#: Entries that one question is about.
_BATCH = 500


def check(
    ui: Any, repo: Any, backend: Backend, report: Report, since: float | None, full: bool
) -> None:
    """Check the entries logged after ``since``; if ``full``, read their objects."""
    if not places.has_log(backend.settings):
        return
    state = backend.catalog.read(public_log.state)
    if state is None:
        return
    seen = 0
    with options.progress(ui, b'public history', b'entries', state.position) as bar:
        while entries := backend.catalog.read(public_log.after, seen, _BATCH):
            for entry in entries:
                _check_gap(report, seen, entry.position)
                seen = entry.position
                bar.update(seen)
                if since is None or entry.logged >= since:
                    _check_object(repo, backend, report, entry, full)
    _check_gap(report, seen, state.position + 1)
    _check_missing(ui, repo, backend, report)


def _check_gap(report: Report, seen: int, position: int) -> None:
    if seen + 1 < position:
        report.problem(b'log', b'%d' % (seen + 1), b'there is no entry at this position')


def _check_object(repo: Any, backend: Backend, report: Report, entry: LogEntry, full: bool) -> None:
    problem = _problem(backend, entry.bundle, full)
    if problem:
        report.problem(
            b'object',
            hgcompat.to_bytes(entry.bundle.key),
            problem,
            lambda: _store_again(repo, backend, entry),
        )


def _store_again(repo: Any, backend: Backend, entry: LogEntry) -> bool:
    try:
        return append.store_again(repo, backend, entry)
    except HeadlessError:  # the store has other content under this name, or does not answer
        return False


def _problem(backend: Backend, bundle: Bundle, full: bool) -> bytes:
    """Return what is wrong with an object; if ``full``, read it."""
    try:
        check_object(backend.store, bundle, None, full)
        if full:
            with overlays.scratch() as folder:
                overlays.fetch_as_stored(backend.store, bundle, os.path.join(folder, 'object'))
    except Missing:
        return b'the object of public history is not in the store'
    except Corrupt as exc:
        return hgcompat.to_bytes(str(exc))
    return b''


def _check_missing(ui: Any, repo: Any, backend: Backend, report: Report) -> None:
    """Compare the heads of the log with those of the repository."""
    with backend.catalog.reading() as session:
        place = places.find(repo, session)
        state = public_log.state(session)
    if place is None or state is None:
        return
    if place.position < state.position:
        ui.status(
            b'this repository lacks %s of public history: run "hg admin::headless-follow"\n'
            % options.number(state.position - place.position, 'entry')
        )
        return
    with backend.catalog.reading() as session:
        lost = follow.lost_bookmarks(repo, session)
        logged = {move.name: move.node for move in public_log.bookmarks(session)}
    for name, own in lost:
        report.problem(
            b'bookmark',
            name,
            b'is at %s here, by a move that the log has lost; there it is at %s: run '
            b'headless-rebuild on a push server, before headless-follow'
            % (_shown(own), _shown(logged.get(name))),
        )
    for node in places.public_heads(repo):
        if node not in place.heads:
            report.problem(
                b'head',
                hgcompat.to_bytes(node.hex()),
                b'is public here, and not in the log of public history',
                lambda: append.append(repo, backend),
            )


def _shown(node: bytes | None) -> bytes:
    return hex(node) if node else b'no changeset'
