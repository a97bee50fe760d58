"""A push and a ``pull -r``, over http and ssh: ours to the same hg without the extensions.

    python benchmarks/road.py [ROUNDS]

Both servers stand on the same base of public history and run side by side in
one run; each figure is a median of wall-clock seconds, then the ratio. What to
aim at: 1.15 over http, 1.25 over ssh. The embedded database and store are used.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / 'tests'))

from world import Clone, Server, World

FILES = 200
PUBLIC = 50


def base(server: Clone) -> None:
    for number in range(FILES):
        (server.root / f'file{number}').write_text('line\n' * 50)
    for number in range(PUBLIC):
        server.commit(f'file{number % FILES}', 'line\n' * 50 + f'{number}\n')
    server.hg('phase', '--public', '-r', 'tip')


def timed(*command: str, cwd: Path, env: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    hg = os.path.join(os.path.dirname(sys.executable), 'hg')
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        ours = Server(world, 'ours', public=0)
        base(ours)
        stock = Server(world, 'stock', public=0, extensions=())
        stock.hg('pull', '-q', str(ours.root))
        (stock.root / '.hg' / 'hgrc').write_text(
            '[phases]\npublish = no\n[web]\npush_ssl = no\nallow-push = *\n'
        )
        print(f'{"":14}{"ours":>9}{"stock":>9}{"ratio":>8}')
        try:
            for transport in ('http', 'ssh'):
                times: dict[tuple[str, str], list[float]] = {}
                for number in range(rounds + 1):
                    for server in (ours, stock) if number % 2 else (stock, ours):
                        which, url = server.root.name, server.url(transport)
                        name = f'{transport}-{which}-{number}'
                        clone = world.clone(url, name)
                        tip = clone.commit('file0', f'{name}\n')
                        other = world.clone(url, f'{name}-other', '-r', '0')
                        push = timed(hg, 'push', '-qf', '-r', '.', cwd=clone.root, env=world.env)
                        other.hg('pull', '-q', '-r', str(PUBLIC - 1), url)
                        pull = timed(
                            hg, 'pull', '-q', '-r', tip, url, cwd=other.root, env=world.env
                        )
                        if number:  # the first round warms up
                            times.setdefault(('push', which), []).append(push)
                            times.setdefault(('pull -r', which), []).append(pull)
                for what in ('push', 'pull -r'):
                    mine, theirs = (
                        statistics.median(times[what, which]) for which in ('ours', 'stock')
                    )
                    print(
                        f'{transport + " " + what:14}{mine:9.3f}{theirs:9.3f}{mine / theirs:8.2f}'
                    )
        finally:
            ours.stop()
            stock.stop()


if __name__ == '__main__':
    main()
