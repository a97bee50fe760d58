"""What a stranger's push costs: large inputs, pushed to a server of ours and to a stock one.

    python benchmarks/extremes.py [CASE ...] [--folder DIR] [--small] [--divide N]

For each case, sizes that grow, and for each of them the processor time, the peak of memory and the
bytes of the server, over ssh, beside those of a stock server that takes the same drafts. Cost has
to grow as the size does, and to be at most 3 times stock's, or the push is refused by a limit that
says so. Stars mark what is not. Inputs are kept in ``--folder``.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import itertools
import random
import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / 'tests'))

import history
import measuring
import variants
from helpers.world import Clone, World
from mercurial import metadata, phases
from mercurial.node import nullid

#: How much more than stock, and than in proportion to the size, a push may cost.
MOST, MOST_GROWTH = 3, 1.5
#: Seconds and megabytes that do not count: those of a server that starts.
START_CPU, START_MEMORY = 1.0, 60.0
PUBLIC, FILES = 100, 1000
_EVOLVE = '[experimental]\nevolution = createmarkers, exchange\n'


class Drafts:
    """Adds drafts to a client's repository, beneath hg's own commit, which takes too long."""

    def __init__(self, repo: Any, tr: Any) -> None:
        self.repo, self._tr = repo, tr
        self._made: list[bytes] = []
        self._logs: dict[bytes, Any] = {}
        self._last: tuple[bytes, Any] = (nullid, None)

    def add(
        self, parent: bytes, files: dict[bytes, bytes], user: bytes = b'Stranger'
    ) -> bytes:
        """A changeset in which ``files`` have other contents; its node."""
        link = len(self.repo.changelog)
        old = self.repo.changelog.read(parent)[0] if parent != self._last[0] else self._last[1]
        written = old
        if files:
            manifest = self.repo.manifestlog[old].copy()
            entries = manifest._manifestdict
            for name, content in files.items():
                log = self._logs.get(name) or self._logs.setdefault(
                    name, self.repo.file(name, writable=True)
                )
                before = entries.get(name, nullid)
                entries[name] = log.add(content, {}, self._tr, link, before, nullid)
            written = manifest.write(self._tr, link, old, nullid, sorted(files), [])
        changed = metadata.ChangingFiles(touched=list(files))
        node: bytes = self.repo.changelog.add(
            written, changed, b'draft %d' % link, self._tr, parent, nullid, user, (0, 0)
        )
        self._made.append(node)
        self._last = node, written
        return node

    def finish(self) -> None:
        phases.retractboundary(self.repo, self._tr, phases.draft, self._made)


@contextlib.contextmanager
def drafts(root: Path) -> Iterator[tuple[Drafts, bytes]]:
    """What adds drafts to a repository, and its newest changeset."""
    repo = history.open_repository(root)
    with repo.lock(), repo.transaction(b'extremes') as tr:
        adding = Drafts(repo, tr)
        yield adding, repo.changelog.tip()
        adding.finish()


def work(number: int) -> bytes:
    return b'%s/file%d.py' % (history.WORK, number % 10)


# --- the inputs: each adds ``size`` of something to a client's repository


def many_files(root: Path, size: int) -> None:
    with drafts(root) as (adding, tip):
        adding.add(tip, {b'new/%d/file%d' % (n % 100, n): b'%d\n' % n for n in range(size)})


def large_file(root: Path, size: int) -> None:
    """In MB, of what cannot be compressed."""
    with drafts(root) as (adding, tip):
        noise = random.Random(size)
        adding.add(tip, {b'large': b''.join(noise.randbytes(1 << 20) for _ in range(size))})


def on_large_manifest(root: Path, _size: int) -> None:
    with drafts(root) as (adding, node):
        for number in range(10):
            node = adding.add(node, {work(number): b'%d\n' % number})


def markers(root: Path, size: int) -> None:
    with drafts(root) as (adding, tip):
        node = adding.add(tip, {work(0): b'a\n'})
        repo = adding.repo
        repo.ui.setconfig(b'experimental', b'evolution', b'createmarkers, exchange')
        repo.obsstore.add(
            adding._tr,
            [
                (hashlib.sha1(b'%d' % n).digest(), (node,), 0, ((b'user', b'a'),), (0.0, 0), None)
                for n in range(size)
            ],
        )


def stack(root: Path, size: int) -> None:
    with drafts(root) as (adding, node):
        for number in range(size):
            node = adding.add(node, {work(number): b'draft %d\n' % number})


def heads(root: Path, size: int) -> None:
    """Stacks of ten on the newest public changeset, over all files."""
    names = history.file_names(FILES)
    with drafts(root) as (adding, tip):
        for number in range(size):
            node = tip
            for place in range(10):
                name = names[(number * 7 + place * 101) % FILES]
                node = adding.add(node, {name: b'draft %d %d\n' % (number, place)})


def chain(root: Path, size: int) -> None:
    """One file of 50 KB, a line of which each changeset changes."""
    lines = [b'line %d of the file\n' % n for n in range(2500)]
    with drafts(root) as (adding, node):
        for number in range(size):
            lines[number % len(lines)] = b'changed by draft %d\n' % number
            node = adding.add(node, {work(0): b''.join(lines)})


def long_names(root: Path, size: int) -> None:
    """Ten files with the longest names that hg takes in ``size`` changesets, authors of 64 KB."""
    with drafts(root) as (adding, node):
        for number in range(size):
            names = [b'/'.join([b'%d.%d' % (number, n), *[b'x' * 199] * 19]) for n in range(10)]
            user = b'%d' % number + b'y' * 65_530
            node = adding.add(node, dict.fromkeys(names, b'%d\n' % number), user)


class Case(NamedTuple):
    """``small`` are sizes that only show that it works."""

    make: Callable[[Path, int], None]
    sizes: tuple[int, ...]
    small: tuple[int, ...]
    settings: str = ''
    hgrc: str = ''


CASES = {
    'files': Case(many_files, (25_000, 50_000, 100_000), (1000, 2000)),
    'large-file': Case(large_file, (256, 511, 1023), (16, 32), 'max-push-size = 1 GB\n'),
    'manifest': Case(on_large_manifest, (250_000, 500_000, 1_000_000), (10_000, 20_000)),
    'markers': Case(markers, (25_000, 50_000, 100_000), (1000, 2000), hgrc=_EVOLVE),
    'stack': Case(stack, (12_500, 25_000, 50_000), (250, 500)),
    'heads': Case(heads, (1250, 2500, 5000), (25, 50)),
    'chain': Case(chain, (2500, 5000, 10_000), (250, 500)),
    'names': Case(long_names, (25, 50, 100), (5, 10)),
}


def large_manifest(root: Path, size: int) -> None:
    """Public history with ``size`` files, of which the histories are not there."""
    with drafts(root) as (adding, tip):
        repo, link = adding.repo, len(adding.repo.changelog)
        old = repo.changelog.read(tip)[0]
        manifest = repo.manifestlog[old].copy()
        names = [b'dir%d/sub%d/other%d.py' % (n // 1000, n % 31, n) for n in range(size)]
        for name in names:
            manifest._manifestdict[name] = hashlib.sha1(name).digest()
        node = manifest.write(adding._tr, link, old, nullid, sorted(names), [])
        history._entry(repo, adding._tr, node, tip, link)


def inputs(folder: Path, name: str, size: int) -> tuple[Path, Path]:
    """The public history of a case and a client's repository, made if they are not there."""
    public = folder / f'public-{PUBLIC}-{FILES}'
    if not public.exists():
        history.build(public, PUBLIC, FILES)
    base, client = folder / f'{name}-{size}-public', folder / f'{name}-{size}'
    if not client.exists():
        for root in (base, client):
            shutil.rmtree(root, ignore_errors=True)
        history.copy(public, base)
        if name == 'manifest':
            large_manifest(base, size)
        half = client.with_suffix('.half')
        shutil.rmtree(half, ignore_errors=True)
        history.copy(base, half)
        CASES[name].make(half, size)
        half.rename(client)
    return base, client


# --- pushes


class Cost(NamedTuple):
    cpu: float
    memory: float
    up: int
    down: int
    said: str = ''


def pushed(world: World, kind: str, name: str, size: int, base: Path, client: Path) -> Cost:
    """Push all drafts of ``client`` to a new server."""
    case = CASES[name]
    root = world.folder / f'{name}-{size}-{kind}'
    server = variants.server(world, root.name, base, kind, Settings(case.settings), 0)
    hgrc = server.root / '.hg' / 'hgrc'
    hgrc.write_text(hgrc.read_text() + case.hgrc)
    config = ['--config', 'experimental.evolution=createmarkers, exchange'] if case.hgrc else []
    folder = Path(tempfile.mkdtemp(dir=world.folder))
    history.copy(client, folder)
    said: list[str] = []

    def run(args: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> tuple[float, float]:
        try:
            return measuring.run_hg(args, cwd, env)
        except SystemExit as exc:
            found = re.search('headless: .*', str(exc))
            said.append(found[0] if found else str(exc)[-200:])
            return 0, 0

    try:
        used = measuring.over_ssh(server, ('push', '-qf', *config, 'URL'), folder, True, run)
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(server.root)
    return Cost(
        used.server_cpu, used.server_memory, used.bytes_up, used.bytes_down, ''.join(said)
    )


class Settings(variants.Embedded):
    """Those of a case, with SQLite and a folder."""

    def __init__(self, settings: str) -> None:
        self._settings = settings

    def settings(self, world: World, name: str) -> str:
        return self._settings


def push(name: str, world: World, folder: Path, sizes: tuple[int, ...]) -> None:
    """Print a line for each size and server of a case."""
    first: dict[str, tuple[int, Cost]] = {}
    for size in sizes:
        base, client = inputs(folder, name, size)
        costs = {
            kind: pushed(world, kind, name, size, base, client) for kind in ('stock', 'ours')
        }
        for kind, cost in costs.items():
            then, before = first.setdefault(kind, (size, cost))
            growth = _growth(cost, before, size / then)
            stock = costs['stock']
            over = cost.cpu - START_CPU > MOST * stock.cpu
            over |= cost.memory - START_MEMORY > MOST * stock.memory
            stars = '' if kind == 'stock' or cost.said else '*' * over + '+' * (
                growth > MOST_GROWTH
            )
            print(
                f'{name:12} {size:8} {kind:6} {cost.cpu:7.1f} {cost.memory:6.0f} '
                f'{cost.up / 1e6:7.1f} {cost.down / 1e3:7.1f} {cost.cpu / stock.cpu:6.1f} '
                f'{cost.memory / stock.memory:6.1f} {growth:6.1f} {stars:2} {cost.said}',
                flush=True,
            )


def _growth(cost: Cost, before: Cost, times: float) -> float:
    """Processor time in relation to that of the smallest size, in proportion: 1 is linear."""
    return cost.cpu / before.cpu / times


# --- pages


def ask(url: str) -> int:
    """The number of bytes of an answer, of whatever status."""
    try:
        with urllib.request.urlopen(url, timeout=600) as answer:
            return len(answer.read())
    except urllib.error.HTTPError as exc:
        return len(exc.read())


def relevance(world: World, folder: Path, sizes: tuple[int, ...]) -> None:
    """``json-automationrelevance`` of stacks, with back-outs."""
    for size in sizes:
        base, client = inputs(folder, 'stack', size)
        server = variants.server(world, f'relevance-{size}', base, 'ours', Settings(''), 0)
        clone = Clone(world, client)
        clone.hg('push', '-qf', str(server.root))
        url = server.start()
        ask(f'{url}json-pushes')
        for query in ('', '?backouts=1'):
            before = measuring.cpu(server.pid)
            measuring.reset_peak(server.pid)
            count = ask(f'{url}json-automationrelevance/{clone.node("tip")}{query}')
            used, peak = measuring.cpu(server.pid) - before, measuring.memory(server.pid)
            print(
                f'relevance{query:12} {size:8} {used:7.1f} s {peak:6.0f} MB {count / 1e6:6.1f} MB '
                f'{1000 * used / size:6.2f} ms a changeset',
                flush=True,
            )
        server.stop()


#: Pages of stock too, and ours.
PAGES = """
    rev/{} raw-rev/{} file/{} shortlog/{} graph/{}
    log/{}/work/file0.py annotate/{}/work/file1.py
"""
OURS = 'json-pushes pushloghtml pushlog push/1 json-automationrelevance/{} json-info?node={}'


def requests(world: World, folder: Path, sizes: tuple[int, ...]) -> None:
    """Memory of one hgweb while it answers many requests of all kinds, by eight threads."""
    base, client = inputs(folder, 'heads', 250)
    clone = Clone(world, client)
    heads = clone.log('head() and draft()', '{node|short}\n')
    for kind in ('stock', 'ours'):
        server = variants.server(world, f'requests-{kind}', base, kind, Settings(''), 0)
        clone.hg('push', '-qf', str(server.root))
        url = server.start()
        pages = PAGES.split() + (OURS.split() if kind == 'ours' else [])
        asked = itertools.cycle(itertools.product(heads, pages))
        curve, count = [], 0
        with ThreadPoolExecutor(8) as pool:
            for upto in sorted({max(sizes) * n // 10 for n in range(1, 11)}):
                some = itertools.islice(asked, upto - count)
                list(pool.map(ask, [url + page.format(node) for node, page in some]))
                count = upto
                curve.append(f'{measuring.memory(server.pid, "VmRSS"):.0f}')
        print(f'requests     {count:8} {kind:6} RSS in MB: {" ".join(curve)}', flush=True)
        server.stop()


OTHERS = {
    'relevance': (relevance, (500, 1000, 2000, 5000), (100, 200)),
    'requests': (requests, (5000,), (200,)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('cases', nargs='*', metavar='CASE', help=', '.join([*CASES, *OTHERS]))
    parser.add_argument('--folder', type=Path, default=Path('/var/tmp/extremes'))
    parser.add_argument('--small', action='store_true', help='only show that it works')
    parser.add_argument('--divide', type=int, default=1, help='sizes are an N-th')
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    print('case             size server   CPU s     MB   up MB down KB CPU/st  MB/st growth')
    with tempfile.TemporaryDirectory() as temporary:
        world = World(Path(temporary))
        measuring.stand_in_for_ssh(world)
        try:
            for name in args.cases or [*CASES, *OTHERS]:
                run: Callable[[World, Path, tuple[int, ...]], None]
                if name in CASES:
                    run, (_make, sizes, small, *_rest) = functools.partial(push, name), CASES[name]
                else:
                    run, sizes, small = OTHERS[name]
                chosen = small if args.small else tuple(size // args.divide for size in sizes)
                run(world, args.folder, chosen)
        finally:
            world.stop()


if __name__ == '__main__':
    main()
