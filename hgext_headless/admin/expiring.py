"""``admin::headless-expire``: drafts go, their pushes stay."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial.node import hex

from .. import hgcompat
from ..catalog import expiry
from ..catalog.expiry import Choice, Going
from ..model import Corrupt, Refused
from ..site import Site
from . import console, letting_go, naming, removal


def run(ui: Any, repo: Any, site: Site, **opts: Any) -> int:
    revs: list[bytes] = opts['rev']
    by_push = any(opts[name] for name in ('older_than', 'user', 'push'))
    if not (by_push or revs):
        raise Refused('nothing is chosen: use --older-than, --user, --push or --rev')
    choice = _choice(opts)
    rounds = _chosen(repo, site, choice, revs) if by_push else _named(repo, site, revs)
    dry_run = bool(opts['dry_run'])
    drafts = bundles = size = failed = 0
    kept: set[bytes] = set()
    with contextlib.ExitStack() as stack:
        remover = None if dry_run else stack.enter_context(removal.required(site))
        fm = stack.enter_context(
            ui.formatter(b'headless-expire', hgcompat.formatter_options(opts))
        )
        bar = stack.enter_context(console.progress(ui, b'expiring', b'bundles', None))
        done_before = letting_go.DryRun(set(), set()) if dry_run else None
        for goings, chosen in rounds:
            kept |= chosen
            for done in _let_go(repo, site, remover, goings, chosen, done_before):
                if isinstance(done, Corrupt):
                    ui.warn(b'%s\n' % hgcompat.to_bytes(done.line()))
                    failed += 1
                    continue
                for node in done.gone:
                    fm.startitem()
                    fm.condwrite(ui.verbose or not fm.isplain(), b'node', b'%s\n', hex(node))
                kept -= set(done.gone)
                drafts += len(done.gone)
                bundles += len(done.keys)
                size += done.size
                bar.increment(len(done.keys))
        bar.complete()
        console.summary(
            ui,
            fm,
            (b'would expire' if dry_run else b'expired')
            + b' %d drafts, and %d bundles with %s\n'
            % (drafts, bundles, hgcompat.byte_count(size)),
        )
        stay = site.catalog.known(kept) if kept else ()
        if stay:
            text = b'%d that are chosen stay: others build on them\n' % len(stay)
            console.summary(ui, fm, text)
    return 1 if failed else 0


def _let_go(
    repo: Any,
    site: Site,
    remover: removal.Remover | None,
    goings: Sequence[Going],
    chosen: set[bytes],
    done: letting_go.DryRun | None,
) -> Iterator[letting_go.Plan | Corrupt]:
    """What was done; bundles one by one where one of them can't be read. Without a
    remover, what would be done."""
    planned = letting_go.plan(repo, site, goings, chosen, done)
    if remover is None:
        yield planned
        return
    try:
        gone = letting_go.carry_out(repo, site, remover, goings, planned)
    except Corrupt as exc:
        if len(goings) == 1:
            yield exc
            return
        for going in goings:
            yield from _let_go(repo, site, remover, [going], chosen, done)
    else:
        yield planned._replace(gone=set(gone))


def _choice(opts: dict[str, Any]) -> Choice:
    age = opts['older_than']
    return Choice(
        before=time.time() - console.age('older-than', age) if age else None,
        users=tuple(opts['user']) or None,
        push_ids=tuple(console.push_ids('push', opts['push'])) or None,
    )


def _chosen(
    repo: Any, site: Site, choice: Choice, revs: Sequence[bytes]
) -> Iterator[tuple[list[Going], set[bytes]]]:
    """Bundles whose heads fit a choice, and the drafts in them that do, some at a time."""
    after = 0
    while goings := site.catalog.read(expiry.choose, choice, after):
        after = goings[-1].bundle_id
        chosen = {node for going in goings for node in going.chosen}
        if revs:
            bundles = [going.bundle for going in goings]
            chosen.intersection_update(naming.drafts_named(repo, site, revs, bundles))
        yield [going for going in goings if going.bundle.head in chosen], chosen


def _named(
    repo: Any, site: Site, revs: Sequence[bytes]
) -> Iterator[tuple[list[Going], set[bytes]]]:
    chosen = set(naming.drafts_named(repo, site, revs))
    goings = site.catalog.read(expiry.holding, chosen)
    yield [going for going in goings if going.bundle.head in chosen], chosen
