"""Pushes while everything is killed again and again: is anything lost?

    python benchmarks/campaign.py [--pushes 1000] [--seed N] [--folder DIR]

Several clients push stacks with bookmarks, obsolescence markers and public parts, over http and
ssh, against Postgres and an S3 server. Meanwhile `hg serve` processes, single processes of pushes,
Postgres and the S3 server are killed by SIGKILL and started again, and gc, expire and verify
run. In the end everything that a client saw acknowledged has to be there; what is
not is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

sys.path.insert(0, str(Path(__file__).parent.parent / 'tests'))

import conftest
import outages
from helpers import many_drafts, services
from helpers.web import fetch
from helpers.world import Clone, Server, World

T = TypeVar('T')

#: Pulls of so many heads at a time.
BATCH = 40
#: Seconds between two kills, at least and at most.
PAUSE = 1, 10
EVOLUTION = '[experimental]\nevolution = createmarkers, exchange\n'


class Pushed(NamedTuple):
    """A push that a client saw acknowledged, or at last saw stored."""

    client: int
    head: str
    nodes: tuple[str, ...]
    bookmark: str | None


def apart(world: World, name: str) -> Clone:
    """A clone with a command server of its own, for one thread."""
    folder = world.folder / name
    folder.mkdir()
    own = World(folder)
    own.env = {**world.env, 'HGRCPATH': own.env['HGRCPATH']}
    return Clone(own, folder / 'clone')


class Campaign:
    """``counts`` are of what happened, ``wrong`` of what must not."""

    def __init__(
        self, world: World, server: Server, weed: services.Weed, pgdata: Path, clients: int
    ) -> None:
        self.world = world
        self.clones = [apart(world, f'client{number}') for number in range(clients)]
        self.server = server
        self.weed = weed
        self.pgdata = pgdata
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.pushed: list[Pushed] = []
        self.published: set[str] = set()
        self.expired: set[str] = set()
        self.polled: list[list[int]] = [[], []]
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self._web: list[outages.Web] = []

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    # --- servers

    def start_web(self) -> None:
        self._web.append(outages.Web(self.world, self.server.root))

    def urls(self) -> list[str]:
        return [web.url for web in self._web]

    def kill_ssh(self) -> None:
        ours = f'{re.escape(str(self.server.root))} serve --stdio'
        found = subprocess.run(['pgrep', '-f', ours], capture_output=True, text=True)
        pids = [int(pid) for pid in found.stdout.split()]
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(pids), signal.SIGKILL)

    def killer(self) -> None:
        kinds: dict[str, Callable[[], None]] = {
            'hg serve': lambda: random.choice(self._web).crash(),
            'ssh process': self.kill_ssh,
            'Postgres': lambda: outages.crash_postgres(self.pgdata),
            'S3 server': lambda: outages.crash_store(self.weed),
        }
        while not self.ended.wait(random.uniform(*PAUSE)):
            kind = random.choices(list(kinds), (4, 6, 1, 1))[0]
            kinds[kind]()
            self.count(f'killed: {kind}')

    # --- who else is there

    def housekeeper(self) -> None:
        while not self.ended.wait(random.uniform(3, 9)):
            what = random.choice(('gc', 'gc', 'verify', 'expire'))
            args: tuple[str, ...] = ()
            if what == 'gc':
                args = ('--grace', '1s')
            elif what == 'expire':
                args = ('--push', str(random.randrange(1, 200)), '-T', 'json')
            out = self.server.hg(f'admin::headless-{what}', *args, code=None)
            if what == 'expire':
                # Killed half way, the names may be missing: then the tombstones tell.
                self.expired.update(re.findall('"node": "([0-9a-f]{40})"', out))
            self.count(f'{what}: exit code {out.code}')

    def poller(self, number: int) -> None:
        seen = self.polled[number]
        while not self.ended.is_set():
            self.poll(number, seen)
            time.sleep(0.2)

    def poll(self, number: int, seen: list[int]) -> None:
        after = seen[-1] if seen else 0
        url = f'{self.urls()[number]}json-pushes?version=2&startID={after}'
        try:
            code, body, _headers = fetch(url)
            found = sorted(map(int, json.loads(body)['pushes'])) if code == 200 else []
        except (OSError, ValueError, http.client.HTTPException):  # it was killed meanwhile
            return
        seen += found

    # --- clients

    def client(self, number: int, pushes: int) -> None:
        clone = self.clones[number]
        clone.world.hg('clone', '-q', str(self.server.root), clone.root)
        with open(clone.root / '.hg' / 'hgrc', 'a') as hgrc:
            hgrc.write(EVOLUTION)
        heads: list[str] = []
        try:
            for i in range(pushes):
                self.push(number, clone, heads, f'c{number}-{i}')
        except Exception as exc:
            self.wrong.append(f'client {number}: {exc!r}')
            raise

    def push(self, client: int, clone: Clone, heads: list[str], name: str) -> None:
        base = random.choice([*heads[-3:], 'public()', '0'])
        number = random.choice((1, 1, 1, 2, 3, 5, 20))
        before = set(clone.log('all()', '{node}\n'))
        base_node = clone.log(f'last({base})', '{node}\n')[0]
        many_drafts.stack(clone, number, base_node, name)
        nodes = [n for n in clone.log('all()', '{node}\n') if n not in before]
        head = nodes[-1]
        args = ['-f', '-r', head]
        bookmark = None
        if random.random() < 0.2:
            bookmark = f'mark-{name}'
            clone.hg('bookmark', '-r', head, bookmark)
            args += ['-B', bookmark]
        if random.random() < 0.1:
            # Of an unknown one: nothing is hidden from this client.
            clone.hg('debugobsolete', random.randbytes(20).hex(), head)
            self.count('pushes with markers')
        if random.random() < 0.1:
            clone.hg('phase', '--public', '-r', nodes[0])
            with self.lock:
                self.published.update(clone.log(f'::{nodes[0]}', '{node}\n'))
            self.count('pushes with public parts')
        self.count(f'pushes of {number}')
        for _attempt in range(300):
            url = random.choice([*self.urls(), self.server.url('ssh')])
            out = clone.hg('push', *args, url, code=None)
            stored = 'headless: stored' in out or 'had been pushed before' in out
            if out.code == 0 and not stored and 'no changes found' not in out:
                self.wrong.append(f'{name}: acknowledged without a word: {out}')
            if out.code == 0:
                self.count('acknowledged')
                break
            if out.code == 1 and 'no changes found' in out:
                # All of it became public before the server died; in the end a push must list it.
                self.count('found public')
                break
            kind = 'temporary' if 'headless: temporary' in out else 'other'
            if 'headless: refused' in out or 'Traceback' in out:
                self.wrong.append(f'{name}: {out}')
            self.count(f'failed: {kind}')
            time.sleep(random.uniform(0.1, 1))
        else:
            self.wrong.append(f'{name}: never acknowledged: {out}')
            return
        heads.append(head)
        with self.lock:
            self.pushed.append(Pushed(client, head, tuple(nodes), bookmark))

    # --- the end

    def check(self, clones: list[Clone], url: str) -> None:
        for number, seen in enumerate(self.polled):
            self.poll(number, seen)
        pushes = json.loads(fetch(f'{url}json-pushes?version=2&startID=0')[1])['pushes']
        ids = sorted(map(int, pushes))
        self.expect(ids == list(range(1, len(ids) + 1)), 'ids have gaps')
        for seen in self.polled:
            self.expect(seen == ids, f'a poller saw {len(seen)} pushes of {len(ids)}')
        listed = [node for push in pushes.values() for node in push['changesets']]
        # What expired and was pushed again is in two: the older one has its name only.
        twice = [n for n, count in collections.Counter(listed).items() if count > 1]
        self.expect(set(twice) <= self.expired, f'changesets are in two pushes: {twice}')
        acknowledged = {node for push in self.pushed for node in push.nodes}
        self.expect(acknowledged <= set(listed), 'acknowledged changesets are in no push')
        self.counts['pushes listed'] = len(ids)
        self.counts['changesets acknowledged'] = len(acknowledged)
        drafts = self.server.hg('log', '--hidden', '-r', 'not public()', '-T', 'x')
        self.expect(drafts == '', 'drafts are in the repository')
        self.server.hg('verify', '-q')
        for clone in clones:
            public = set(clone.log('public()', '{node}\n'))
            there = set(self.server.log('public()', '{node}\n'))
            self.expect(public <= self.published | there, 'a client has published a draft')
        self.check_pulls(clones, url)
        for push in self.pushed:
            if push.bookmark and push.head not in self.expired:
                out = self.world.hg('identify', '--id', '-r', push.bookmark, url, code=None)
                self.expect(out.strip() == push.head[:12], f'bookmark {push.bookmark}: {out}')
                self.counts['bookmarks checked'] += 1
        self.server.hg('admin::headless-gc', '--grace', '0s')
        out = self.server.hg('admin::headless-verify', '--full', code=None)
        self.expect(out.code == 0 and 'all is well' in out, f'verify: {out}')
        self.counts['verified: ' + out.splitlines()[-1]] = 1

    def check_pulls(self, clones: list[Clone], url: str) -> None:
        heads = [push.head for push in self.pushed if push.head not in self.expired]
        puller = self.world.clone(str(self.server.root), 'puller')
        for start in range(0, len(heads), BATCH):
            batch = heads[start : start + BATCH]
            out = puller.hg('pull', '-q', *(a for h in batch for a in ('-r', h)), url, code=None)
            for head in batch if out.code else ():
                out = puller.hg('pull', '-q', '-r', head, url, code=None)
                self.expect(out.code == 0, f'{head} cannot be pulled: {out}')
        puller.verified()
        for push in self.pushed:
            if push.head in self.expired:
                continue
            source = clones[push.client]
            revs = f'{push.nodes[0]}::{push.head}'
            self.expect(puller.facts(revs) == source.facts(revs), f'{push.head} is another')
            self.counts['heads compared'] += 1

    def expect(self, right: bool, text: str) -> None:
        if not right:
            self.wrong.append(text)


def run(args: argparse.Namespace, folder: Path) -> Campaign:
    (folder / 'pg').mkdir(parents=True)
    (folder / 's3').mkdir()
    folder.chmod(0o755)
    weed = services.Weed(folder / 's3')
    weed.start()
    world = World(folder)
    with services.postgres(folder / 'pg') as database:
        server = Server(world)
        settings = conftest.fresh(world, services.Services(database, weed.endpoint))
        server.configure(settings + f'link-base = http://127.0.0.1:1\ninline = auto\n{EVOLUTION}')
        campaign = Campaign(world, server, weed, folder / 'pg', args.clients)
        for _number in range(2):
            campaign.start_web()
        for url in campaign.urls():
            world.wait_for(url)
        each = -(-args.pushes // args.clients)
        clients = [
            threading.Thread(target=campaign.client, args=(n, each)) for n in range(args.clients)
        ]
        others = [
            threading.Thread(target=campaign.killer),
            threading.Thread(target=campaign.housekeeper),
            *(threading.Thread(target=campaign.poller, args=(n,)) for n in range(2)),
        ]
        for thread in clients + others:
            thread.start()
        for thread in clients:
            thread.join()
        campaign.ended.set()
        for thread in others:
            thread.join()
        for url in campaign.urls():
            world.wait_for(url)
        campaign.expired.update(gone(campaign.urls()[0]))
        try:
            campaign.check(campaign.clones, campaign.urls()[0])
        finally:
            for each in (world, *(clone.world for clone in campaign.clones)):
                each.stop()
            for web in campaign._web:
                web.kill()
            weed.kill()
        return campaign


def gone(url: str) -> set[str]:
    """Changesets that are gone: ``full`` leaves them out."""

    def pushes(query: str) -> Iterator[dict[str, Any]]:
        found = json.loads(fetch(f'{url}json-pushes?version=2&startID=0{query}')[1])
        yield from found['pushes'].values()

    listed = {node for push in pushes('') for node in push['changesets']}
    there = {changeset['node'] for push in pushes('&full=1') for changeset in push['changesets']}
    return listed - there


def ran(description: str, pushes: int, run: Callable[[argparse.Namespace, Path], T]) -> T:
    """Parse the arguments, and return what ``run`` makes of them and a folder."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--pushes', type=int, default=pushes)
    parser.add_argument('--clients', type=int, default=6)
    parser.add_argument('--seed', type=int, default=None)
    parser.add_argument('--folder', type=Path, help='kept; default: a temporary one')
    args = parser.parse_args()
    random.seed(args.seed)
    with contextlib.ExitStack() as stack:
        folder = args.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return run(args, folder)


def main() -> int:
    started = time.monotonic()
    campaign = ran(__doc__.splitlines()[0], 1000, run)
    for what, number in sorted(campaign.counts.items()):
        print(f'{number:8} {what}')
    for text in campaign.wrong:
        print(f'WRONG: {text}')
    print(f'{len(campaign.wrong)} wrong; {time.monotonic() - started:.0f} s')
    return 1 if campaign.wrong else 0


if __name__ == '__main__':
    sys.exit(main())
