"""Two push servers and three replicas: does public history reach all of them, and how soon?

    python benchmarks/fleet.py [--pushes 500] [--seed N] [--folder DIR]

Each server is a repository with processes of its own; all share a Postgres and an S3 server.
Clients push drafts with public parts to both push servers, while each server runs ``hg
admin::headless-follow --watch``. One replica stands still for a while, one is made new from a
clone in the middle. Processes that follow, web servers, Postgres and the S3 server are killed. In
the end all must be equal, and no server may have shown a push that it could not serve. What is
wrong is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / 'tests'))

import conftest
import outages
from campaign import apart, ran
from helpers import services
from helpers.web import fetch
from helpers.world import HG, Clone, Server, World

FOLLOW = 'admin::headless-follow'
#: Pauses in seconds between two kills, at least and at most.
KILLS = 2, 8
#: How long a watcher lets a server that shows a push fail to serve it, for what was killed.
PATIENCE = 30


class Member:
    """A server of the fleet: it serves over http, and follows."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = server.root.name
        self.web = outages.Web(server.world, server.root)
        self.url = self.web.url
        self.shown = 0
        self.lags: list[float] = []
        self._log = open(server.world.folder / f'{self.name}.follow', 'ab')
        self._process: subprocess.Popen[bytes] | None = None

    def follow(self) -> None:
        self._process = subprocess.Popen(
            [HG, '-R', self.server.root, FOLLOW, '--watch'],
            env=self.server.world.env,
            stdout=self._log,
            stderr=self._log,
        )

    def stand_still(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def is_following(self) -> bool:
        return self._process is not None

    def state(self) -> list[str]:
        return sorted(self.server.hg('log', '-T', '{node} {phase} {bookmarks}\n').splitlines())


class Fleet:
    def __init__(self, world: World, settings: str, weed: services.Weed, pgdata: Path) -> None:
        self.world = world
        self.weed = weed
        self.pgdata = pgdata
        self.killed: collections.Counter[str] = collections.Counter()
        self.settings = settings
        first = Server(world, 'push1', settings)
        first.hg('admin::headless-init')
        self.first = first
        self.push_servers = [
            Member(first), Member(Server(world, 'push2', settings, copied=first.root))
        ]
        self.replicas = [Member(self._replica(f'replica{n}')) for n in (1, 2)]
        self.wrong: list[str] = []
        self.recorded: dict[int, float] = {}
        self.ended = threading.Event()
        self.watchers: list[threading.Thread] = []
        self.pushes = 0
        self.lock = threading.Lock()

    def _replica(self, name: str) -> Server:
        return Server(
            self.world, name, self.settings, extensions=('web',), copied=self.first.root
        )

    def add_replica(self) -> None:
        """From a clone by stock's means."""
        clone = self.world.folder / 'clone'
        self.world.hg('clone', '-q', '-U', str(self.first.root), str(clone))
        server = Server(self.world, 'replica3', self.settings, extensions=('web',), copied=clone)
        member = Member(server)
        member.follow()
        self.replicas.append(member)
        watcher = threading.Thread(target=self.watcher, args=(member,))
        watcher.start()
        self.watchers.append(watcher)

    @property
    def members(self) -> list[Member]:
        return [*self.push_servers, *self.replicas]

    def client(self, number: int, pushes: int) -> None:
        try:
            clone = apart(self.world, f'client{number}')
            clone.world.hg('clone', '-q', str(self.first.root), clone.root)
            for i in range(pushes):
                self.push(clone, number, i)
            clone.world.stop()
        except Exception as exc:
            self.wrong.append(f'client {number}: {exc!r}')
            raise

    def push(self, clone: Clone, number: int, i: int) -> None:
        name = f'c{number}-{i}'
        base = random.choice(('public()', 'public()', '0'))
        clone.hg('update', '-q', '-C', clone.log(f'last({base})', '{node}\n')[0])
        nodes = [clone.commit(f'{name}-{n}') for n in range(random.choice((1, 2, 3)))]
        args = ['-f', '-r', nodes[-1]]
        is_public = random.random() < 0.6
        if is_public:
            clone.hg('phase', '--public', '-r', nodes[0])
            if random.random() < 0.3:
                clone.hg('bookmark', '-f', '-r', nodes[0], f'public-{number}')
                args += ['-B', f'public-{number}']
        for _attempt in range(50):
            url = random.choice(self.push_servers).url
            out = clone.hg('push', *args, url, code=None)
            # The reply of an earlier attempt was lost.
            if out.code == 0 or 'no changes found' in out:
                break
            if 'headless: refused' in out:
                self.wrong.append(f'{name}: {out}')
            time.sleep(random.random())
        else:
            self.wrong.append(f'{name}: never acknowledged: {out}')
        with self.lock:
            self.pushes += 1

    def watcher(self, member: Member) -> None:
        """Is each push served that is shown, and how long after it was recorded?"""
        while not self.ended.wait(0.05):
            try:
                code, body, _headers = fetch(
                    f'{member.url}json-pushes?version=2&startID={member.shown}'
                )
            except (OSError, http.client.HTTPException):  # it was killed
                continue
            if code != 200:
                continue
            now = time.time()
            pushes = json.loads(body)['pushes']
            ids = sorted(map(int, pushes))
            if ids != list(range(member.shown + 1, member.shown + 1 + len(ids))):
                self.wrong.append(f'{member.name}: after {member.shown} came {ids}')
            for push_id in ids:
                first = self.recorded.setdefault(push_id, now)
                if member.is_following:
                    member.lags.append(now - first)
            for push_id in ids[-1:]:
                for node in pushes[str(push_id)]['changesets']:
                    why = self.served(f'{member.url}raw-rev/{node}')
                    if why is not None:
                        self.wrong.append(f'{member.name}: push {push_id}: {node}: {why}')
            member.shown = ids[-1] if ids else member.shown

    def served(self, url: str) -> str | None:
        """Return None if a page is answered, at last; 404 is an answer that is wrong at once."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                code = fetch(url)[0]
                why = None if code == 200 else str(code)
            except (OSError, http.client.HTTPException) as exc:
                why = repr(exc)
            if why in (None, '404') or time.monotonic() > deadline:
                return why
            time.sleep(0.1)

    def interrupt_following(self) -> None:
        member = random.choice([m for m in self.members if m.is_following])
        member.stand_still()
        time.sleep(random.random())
        member.follow()

    def killer(self) -> None:
        kinds: dict[str, Callable[[], None]] = {
            'follow': self.interrupt_following,
            'hg serve': lambda: random.choice(self.members).web.crash(),
            'Postgres': lambda: outages.crash_postgres(self.pgdata),
            'S3 server': lambda: outages.crash_store(self.weed),
        }
        while not self.ended.wait(random.uniform(*KILLS)):
            kind = random.choices(list(kinds), (4, 4, 1, 1))[0]
            kinds[kind]()
            self.killed[kind] += 1


def run(args: argparse.Namespace, folder: Path) -> Fleet:
    (folder / 's3').mkdir(parents=True)
    folder.chmod(0o755)
    weed = services.Weed(folder / 's3')
    weed.start()
    world = World(folder)
    with services.postgres(folder / 'pg') as database:
        settings = conftest.fresh(world, services.Services(database, weed.endpoint))
        fleet = Fleet(world, settings, weed, folder / 'pg')
        for member in fleet.members:
            member.follow()
        each = -(-args.pushes // args.clients)
        clients = [
            threading.Thread(target=fleet.client, args=(n, each)) for n in range(args.clients)
        ]
        # The first push server needs no following to show what it took.
        fleet.watchers += [
            threading.Thread(target=fleet.watcher, args=(m,)) for m in fleet.members
        ]
        killer = threading.Thread(target=fleet.killer)
        for thread in clients + fleet.watchers:
            thread.start()
        killer.start()
        still = fleet.replicas[1]
        while any(thread.is_alive() for thread in clients):
            time.sleep(0.5)
            share = fleet.pushes / args.pushes
            if 0.3 < share < 0.6 and still.is_following:
                still.stand_still()
            elif share >= 0.6 and not still.is_following:
                still.follow()
            if share >= 0.5 and len(fleet.replicas) == 2:
                fleet.add_replica()
        ended = time.monotonic()
        fleet.ended.set()
        killer.join()
        states = check(fleet)
        print(f'equal {time.monotonic() - ended:.1f} s after the last push: {states}')
        for thread in fleet.watchers:
            thread.join()
        for member in fleet.members:
            member.stand_still()
            member.server.hg('verify', '-q')
        out = fleet.first.hg('admin::headless-verify', '--full', code=None)
        print(out.splitlines()[-1])
        if out.code:
            fleet.wrong.append(f'verify: {out}')
        for member in fleet.members:
            member.web.kill()
        world.stop()
    weed.kill()
    return fleet


def check(fleet: Fleet) -> str:
    """Wait until all are equal; how many changesets and bookmarks they have."""
    deadline = time.monotonic() + 120
    while True:
        states = [member.state() for member in fleet.members]
        if all(state == states[0] for state in states):
            break
        if time.monotonic() > deadline:
            for member, state in zip(fleet.members, states):
                only = sorted(set(state) ^ set(states[0]))
                fleet.wrong.append(f'{member.name} differs: {only[:6]}')
            break
        time.sleep(1)
    drafts = [line for line in states[0] if ' public ' not in line]
    if drafts:
        fleet.wrong.append(f'drafts are in the repository: {drafts[:3]}')
    bookmarks = sum(not line.endswith(' ') for line in states[0])
    return f'{len(states[0])} changesets, {bookmarks} of them with bookmarks'


def main() -> int:
    started = time.monotonic()
    fleet = ran(__doc__.splitlines()[0], 500, run)
    print('killed: ' + ', '.join(f'{n} x {kind}' for kind, n in fleet.killed.items()))
    print(f'{fleet.pushes} pushes in {time.monotonic() - started:.0f} s, load {os.getloadavg()}')
    for member in fleet.members:
        if len(member.lags) > 1:
            lags = sorted(member.lags)
            print(
                f'{member.name}: shown after the first server that shows it: median '
                f'{statistics.median(lags):.2f} s, 95 % {lags[int(len(lags) * 0.95)]:.2f} s, '
                f'at most {lags[-1]:.2f} s'
            )
    for text in fleet.wrong:
        print(f'WRONG: {text}')
    print(f'{len(fleet.wrong)} wrong')
    return 1 if fleet.wrong else 0


if __name__ == '__main__':
    sys.exit(main())
