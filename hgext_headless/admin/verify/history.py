"""Check push ids, the changesets of pushes, and the log of public history."""

from __future__ import annotations

import functools
import os

from mercurial.node import hex

from ... import hgcompat, place as places
from ...bundles import check as bundle_check, overlay as overlays
from ...catalog import consistency, drop, epochs, moving, public_log, pushlog
from ...errors import Corrupt
from ...model import LogEntry
from ...replication import append, follow
from .. import options
from .report import Lost, Report, check_object, differences, has

#: Entries of the log that one query is about.
_BATCH = 500


def check_pushes(report: Report) -> None:
    """Check push ids, and the changesets of pushes; if ``full``, compare these with their rows."""
    catalog = report.backend.catalog
    counter = catalog.read(consistency.counter)
    if counter.highest > counter.last_push_id:
        report.problem(
            b'counter',
            b'%d' % counter.last_push_id,
            b'is below the highest push id, %d' % counter.highest,
            lambda: catalog.write(consistency.set_counter, counter.highest),
        )
    imported = counter.imported_pushes or 0
    if counter.there < imported:
        report.problem(
            b'pushlog',
            b'1-%d' % counter.imported_push_id,
            b'%d of the %d pushes that were imported are gone'
            % (imported - counter.there, imported),
        )
    known = {each.first_push_id: each.known_push_id for each in catalog.read(epochs.every)}
    since = report.since
    start = 1 if since is None else catalog.read(consistency.first_push_since, since)
    with options.progress(report.ui, b'pushes', b'pushes', counter.last_push_id - start + 1) as bar:
        seen = start - 1
        while found := catalog.read(consistency.push_ids, seen):
            for push_id in found:
                _check_gap(report, counter, known, seen, push_id)
                seen = push_id
            report.pushes += len(found)
            _check_brought(report, found[0], seen)
            _check_tombstones(report, found[0], seen)
            bar.update(seen - start + 1)
        _check_gap(report, counter, known, seen, counter.last_push_id + 1)


def _check_gap(
    report: Report, counter: consistency.Counter, known: dict[int, int], seen: int, push_id: int
) -> None:
    """Report missing ids between two pushes.

    An imported pushlog may have gaps, and there is one before the first id of an epoch, which
    ``known`` maps to the last id that was known of the epoch before. Before the oldest epoch is
    what was dropped.
    """
    first = max(seen, counter.imported_push_id, min(known.values(), default=0)) + 1
    push_id = min(push_id, known.get(push_id, push_id) + 1)
    if first < push_id:
        ids = b'%d' % first if first == push_id - 1 else b'%d-%d' % (first, push_id - 1)
        report.problem(b'push', ids, b'there is no push with this id')


def _check_brought(report: Report, low: int, high: int) -> None:
    """Check the changesets and branches of the pushes from ``low`` to ``high``.

    The changesets must be present, and the branches listed. If ``full``, compare the rows of public
    changesets with the repository.
    """
    repo, catalog = report.repo, report.backend.catalog
    for row in catalog.read(consistency.without_bundle, low, high, report.full):
        if not has(repo, row.node):
            text = b'push %d brought it; it is neither in the repository nor in a bundle'
            text %= row.push_id
            # An object without a row could hold it.
            fix = functools.partial(_mark_lost, report, row.node, text)
            report.problem(b'changeset', hex(row.node), text, None if report.has_orphans else fix)
        elif report.full:
            there = bundle_check.of_changelog(repo.unfiltered(), row.node)
            for found in differences(pushlog.facts(row), there, b'push %d' % row.push_id):
                report.problem(found.kind, found.item, found.text)
    for push_id, there, listed in catalog.read(consistency.incomplete, low, high):
        report.problem(
            b'push',
            b'%d' % push_id,
            b'it lists %d of the %s that it brought' % (there, options.number(listed, 'changeset')),
        )
    for push_id, branch in catalog.read(consistency.missing_branches, low, high):
        add = functools.partial(catalog.write, consistency.add_branch, push_id, branch)
        report.problem(b'branch', branch, b'is not listed for push %d' % push_id, add)


def _mark_lost(report: Report, node: bytes, text: bytes) -> bool:
    """Note that a changeset that was public is lost: servers wait for it before they go on.

    Return False if it is there again. Raise `Temporary` if the log has more than the repository.
    """
    with places.at_the_head(report.repo, report.backend) as public:
        if public.is_public(node):
            return False
        loss = drop.Loss(options.operator(), text)
        return bool(drop.drop(public.session, (), {node}, (), {}, loss))


def _check_tombstones(report: Report, low: int, high: int) -> None:
    """Report changesets that are public, and of which no push says more than that they are gone.

    Older versions expired drafts that had become public on another server.
    """
    repo, catalog = report.repo, report.backend.catalog
    for push_id, node in catalog.read(consistency.gone_from_all, low, high):
        if places.is_public(repo, node):
            facts = bundle_check.of_changelog(repo.unfiltered(), node)
            report.problem(
                b'changeset',
                hex(node),
                b'is public, and push %d says that it is gone' % push_id,
                functools.partial(catalog.write, moving.revive, facts),
            )


def check_public_history(report: Report) -> None:
    """Check the entries of the log, and what it lacks."""
    backend, since = report.backend, report.since
    if not places.has_log(backend.settings):
        return
    state = backend.catalog.read(public_log.state)
    if state is None:
        return
    seen = 0
    with options.progress(report.ui, b'public history', b'entries', state.position) as bar:
        while entries := backend.catalog.read(public_log.after, seen, _BATCH):
            for entry in entries:
                _check_positions(report, seen, entry.position)
                seen = entry.position
                bar.update(seen)
                if since is None or entry.logged >= since:
                    _check_object(report, entry)
    _check_positions(report, seen, state.position + 1)
    _check_missing(report)


def _check_positions(report: Report, seen: int, position: int) -> None:
    if seen + 1 < position:
        report.problem(b'log', b'%d' % (seen + 1), b'there is no entry at this position')


def _check_object(report: Report, entry: LogEntry) -> None:
    store, full = report.backend.store, report.full
    try:
        check_object(store, entry.bundle, None, full)
        if full:
            with overlays.scratch() as folder:
                path = os.path.join(folder, 'object')
                overlays.fetch_as_stored(store, entry.bundle, path)
    except Corrupt as exc:
        lost = b'the object of public history is not in the store'
        text = lost if isinstance(exc, Lost) else hgcompat.to_bytes(str(exc))
        fix = functools.partial(append.store_again, report.repo, report.backend, entry)
        report.problem(b'object', hgcompat.to_bytes(entry.bundle.key), text, fix)


def _check_missing(report: Report) -> None:
    """Compare the heads of the log with those of the repository."""
    repo, backend = report.repo, report.backend
    with backend.catalog.reading() as session:
        place = places.find(repo, session)
        state = public_log.state(session)
    if place is None or state is None:
        return
    if place.position < state.position:
        report.ui.status(
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
            b'"hg admin::headless-rebuild" on a push server, before "hg admin::headless-follow"'
            % (_shown(own), _shown(logged.get(name))),
            lambda: follow.log_bookmarks(repo, backend, follow.lost_bookmarks),
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
