"""Several clients that push at once."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import history
from drafts import commits
from exchange import TRANSPORTS
from helpers.world import Clone, World
from measuring import run_hg
from report import Figures
from variants import Variant

CLIENTS = 8


def _push_each(clone: Clone, drafts: list[str], url: str) -> None:
    for node in drafts:
        run_hg(('push', '-qf', '-r', node, url), clone.root, clone.world.env)


def throughput(
    figures: Figures, world: World, variants: list[Variant], public: Path, pushes: int
) -> None:
    """``pushes`` in two halves a transport, the second in the other order of variants.

    All variants get drafts from the same clients, but not the same drafts: stock, pushed to by
    several at once, now and then has a client publish one.
    """
    each = max(1, pushes // CLIENTS // 2)
    clients = []
    for number in range(CLIENTS):
        clone = Clone(world, world.folder / f'client{number}')
        history.copy(public, clone.root)
        clients.append(clone)
    # Alone: stock's lazy imports fail where two threads are the first to need one.
    for variant in variants:
        _push_each(clients[0], commits(clients[0], variant.public), variant.server.start())
    for transport in TRANSPORTS:
        for order in (variants, variants[::-1]):
            for variant in order:
                drafts = [commits(clone, variant.public, each, stacked=False) for clone in clients]
                url = variant.server.url(transport)
                started = time.perf_counter()
                try:
                    with ThreadPoolExecutor(CLIENTS) as pool:
                        list(pool.map(_push_each, clients, drafts, [url] * CLIENTS))
                except SystemExit as error:
                    errors = variant.server.errors()
                    raise SystemExit(f'{variant.name}: {error}\n{errors}') from error
                rate = each * CLIENTS / (time.perf_counter() - started)
                figures.add_rate(transport, variant.name, rate)
                _check(variant, clients, drafts)


def _check(variant: Variant, clients: list[Clone], drafts: list[list[str]]) -> None:
    """Ours has no client publish what it pushed."""
    for clone, pushed in zip(clients, drafts):
        published = clone.log(f'({"+".join(pushed)}) and public()')
        text = f'{variant.name}: {len(published)} drafts became public'
        if published and variant.name in ('ours', 'stored'):
            raise SystemExit(text)
        if published:
            print(text, file=sys.stderr, flush=True)
