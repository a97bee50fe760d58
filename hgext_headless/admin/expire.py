"""``admin::headless-expire``: remove drafts, and keep their pushes in the pushlog."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial import pycompat, util
from mercurial.node import hex

from .. import hgcompat
from ..backend import Backend
from ..catalog import drafts as drafts_rows, drop as drop_rows, pushlog, statements
from ..catalog.drop import Candidate, Choice
from ..errors import Corrupt, Refused
from ..lifecycle import delete, drop
from ..model import Selection
from . import options, revsets


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    revs: list[bytes] = opts['rev']
    by_push = any(opts[name] for name in ('older_than', 'user', 'push'))
    if not (by_push or revs):
        raise Refused('nothing is chosen: use --older-than, --user, --push or --rev')
    choice = _choice(backend, opts)
    batches = _chosen(repo, backend, choice, revs) if by_push else _named(repo, backend, revs)
    dry_run = bool(opts['dry_run'])
    drafts = bundles = size = failed = 0
    remaining: set[bytes] = set()
    with contextlib.ExitStack() as stack:
        deleter = None if dry_run else stack.enter_context(delete.required(backend))
        fm = stack.enter_context(ui.formatter(b'headless-expire', pycompat.byteskwargs(opts)))
        bar = stack.enter_context(options.progress(ui, b'expiring', b'bundles', None))
        done_before = drop.DryRun(set(), set()) if dry_run else None
        for candidates, chosen in batches:
            remaining |= chosen
            for done in _dropped(repo, backend, deleter, candidates, chosen, done_before):
                if isinstance(done, Corrupt):
                    ui.warn(b'%s\n' % hgcompat.to_bytes(done.line()))
                    failed += 1
                    continue
                for node in done.expired:
                    fm.startitem()
                    fm.condwrite(ui.verbose or not fm.isplain(), b'node', b'%s\n', hex(node))
                remaining -= set(done.expired)
                drafts += len(done.expired)
                bundles += len(done.keys)
                size += done.size
                bar.increment(len(done.keys))
        bar.complete()
        options.summary(
            ui,
            fm,
            (b'would expire' if dry_run else b'expired')
            + b' %s, and %s with %s\n'
            % (
                options.number(drafts, 'draft'),
                options.number(bundles, 'bundle'),
                util.bytecount(size),
            ),
        )
        stay = backend.catalog.read(drafts_rows.known, remaining) if remaining else ()
        if stay:
            text = b'kept %s that others build on\n' % options.number(len(stay), 'draft')
            options.summary(ui, fm, text)
        if deleter is not None and options.tell_undeleted(ui, deleter):
            failed += 1
    return 1 if failed else 0


def _dropped(
    repo: Any,
    backend: Backend,
    deleter: delete.Deleter | None,
    candidates: Sequence[Candidate],
    chosen: set[bytes],
    done: drop.DryRun | None,
) -> Iterator[drop.Plan | Corrupt]:
    """Drop bundles, each by itself if one cannot be read; without a ``deleter``, only plan.

    Yield the plans that were carried out, and errors.
    """
    planned = drop.plan(repo, backend, candidates, chosen, done)
    if deleter is None:
        yield planned
        return
    try:
        gone = drop.carry_out(repo, backend, deleter, candidates, planned)
    except Corrupt as exc:
        if len(candidates) == 1:
            yield exc
            return
        for candidate in candidates:
            yield from _dropped(repo, backend, deleter, [candidate], chosen, done)
    else:
        yield planned._replace(expired=set(gone))


def _choice(backend: Backend, opts: dict[str, Any]) -> Choice:
    age = opts['older_than']
    now = backend.catalog.read(statements.now)
    for user in opts['user']:
        if not backend.catalog.read(pushlog.entries, Selection(users=(user,)), True, 1):
            raise Refused(f'there is no push by "{hgcompat.escaped(user)}"')
    return Choice(
        before=now - options.age('older-than', age) if age else None,
        users=tuple(opts['user']) or None,
        push_ids=options.pushes(backend, 'push', opts['push']) or None,
    )


def _chosen(
    repo: Any, backend: Backend, choice: Choice, revs: Sequence[bytes]
) -> Iterator[tuple[list[Candidate], set[bytes]]]:
    """Yield bundles whose heads match ``choice``, and their drafts that match, in batches."""
    after = 0
    while candidates := backend.catalog.read(drop_rows.choose, choice, after):
        after = candidates[-1].bundle_id
        chosen = {node for candidate in candidates for node in candidate.chosen}
        if revs:
            bundles = [candidate.bundle for candidate in candidates]
            chosen.intersection_update(revsets.drafts_named(repo, backend, revs, bundles))
        yield [candidate for candidate in candidates if candidate.bundle.head in chosen], chosen


def _named(
    repo: Any, backend: Backend, revs: Sequence[bytes]
) -> Iterator[tuple[list[Candidate], set[bytes]]]:
    """Yield the bundles whose heads are in ``revs``, and the drafts in ``revs``."""
    chosen = set(revsets.drafts_named(repo, backend, revs))
    candidates = backend.catalog.read(drop_rows.holding, chosen)
    yield [candidate for candidate in candidates if candidate.bundle.head in chosen], chosen
