"""Pages of a draft: the first that a process of hgweb serves, and those after it."""

from __future__ import annotations

import itertools
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from drafts import commits
from helpers.world import Server
from measuring import Used, client, cpu, memory, reset_peak
from report import Figures
from variants import Variant

PAGES = ('rev', 'json-rev', 'raw-rev', 'shortlog', 'graph')
LATER = 5


def fetch(url: str) -> int:
    """Get a page; its size."""
    with urllib.request.urlopen(url, timeout=120) as answer:
        return len(answer.read())


def _used(server: Server, urls: list[str]) -> Used:
    """What a page of some costs, on the average; the peak is that of all."""
    pid = server.pid
    reset_peak(pid)
    before, started = cpu(pid), time.perf_counter()
    size = sum(fetch(url) for url in urls)
    wall = time.perf_counter() - started
    spent = cpu(pid) - before
    count = len(urls)
    return Used(wall / count, 0, spent / count, memory(pid), 0, size // count)


def pages(figures: Figures, variants: list[Variant], rounds: int) -> None:
    """Each kind of page, in a fresh process; then others, each of another draft."""
    drafts = {v.name: itertools.cycle(v.drafts) for v in variants}
    for number in range(rounds):
        for kind in PAGES:
            for variant in variants if number % 2 else variants[::-1]:
                url = variant.restart()
                asked = [f'{url}{kind}/{next(drafts[variant.name])}' for _ in range(1 + LATER)]
                for which, some in (('first', asked[:1]), ('later', asked[1:])):
                    used = _used(variant.server, some)
                    figures.add(f'{kind}, {which}', 'pages', variant.name, used)


def many(figures: Figures, variants: list[Variant], count: int, threads: int) -> None:
    """hgweb's memory after a page of each of many drafts, in several threads."""
    for variant in variants:
        drafts = commits(variant.pusher, variant.public, count, stacked=False)
        revs = [word for node in drafts for word in ('-r', node)]
        client(
            variant.server, 'http', ('push', '-qf', *revs, 'URL'), variant.pusher.root
        )
        url = variant.restart()
        started = time.perf_counter()
        try:
            # Alone: stock's lazy imports fail where two threads are the first to need one.
            fetch(f'{url}rev/{drafts[0]}')
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fetch, [f'{url}rev/{node}' for node in drafts[1:]]))
        except OSError as error:
            raise SystemExit(f'{variant.name}: {error}\n{variant.server.errors()}') from error
        figures.add_many(
            variant.name,
            memory(variant.server.pid, 'VmRSS'),
            memory(variant.server.pid),
            count / (time.perf_counter() - started),
        )
