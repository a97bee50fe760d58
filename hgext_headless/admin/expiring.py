"""``admin::headless-expire``: drafts go, their pushes stay."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial.node import hex

from .. import hgcompat
from ..catalog import expiry
from ..catalog.expiry import Choice, Going
from ..model import Refused
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
    drafts = bundles = size = 0
    with removal.required(site) as remover, ui.formatter(
        b'headless-expire', hgcompat.formatter_options(opts)
    ) as fm:
        with console.progress(ui, b'expiring', b'bundles', None) as bar:
            for goings, chosen in rounds:
                planned = letting_go.plan(repo, site, goings, chosen)
                gone = sorted(planned.gone)
                if not dry_run:
                    gone = letting_go.carry_out(repo, site, remover, goings, planned)
                for node in gone:
                    fm.startitem()
                    fm.condwrite(ui.verbose or not fm.isplain(), b'node', b'%s\n', hex(node))
                drafts += len(gone)
                bundles += len(planned.keys)
                size += planned.size
                bar.increment(len(planned.keys))
        console.summary(
            ui,
            fm,
            (b'would expire' if dry_run else b'expired')
            + b' %d drafts, and %d bundles with %s\n'
            % (drafts, bundles, hgcompat.byte_count(size)),
        )
    return 0


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
