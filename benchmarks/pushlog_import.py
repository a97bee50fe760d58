"""Taking over an older pushlog: pushes a second, and the most memory that it took.

    python benchmarks/pushlog_import.py sqlite:////tmp/import.sqlite
    python benchmarks/pushlog_import.py postgresql+psycopg2://user@host/database

Makes a repository with CHANGESETS changesets, and a pushlog2.db with PUSHES pushes of
three each: the first ones are those in the repository, of the others there is only
a name. The database must be empty. Imports, and then once more, when all is there.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mercurial import hg, metadata, ui
from mercurial.node import nullid

sys.path.insert(0, str(Path(__file__).parent.parent / 'tests'))

from helpers.old_pushlog import SCHEMA

HG = os.path.join(os.path.dirname(sys.executable), 'hg')
EACH = 3


def make_repository(root: Path, changesets: int, database: str) -> Iterator[str]:
    """Public changesets without files; their hashes."""
    subprocess.run([HG, 'init', root], check=True)
    repo = hg.repository(ui.ui.load(), os.fsencode(root))
    node = nullid
    with repo.lock(), repo.transaction(b'benchmark') as transaction:
        for number in range(changesets):
            user = b'user%d <user%d@example.com>' % (number % 1000, number % 1000)
            node = repo.changelog.add(
                nullid,
                metadata.ChangingFiles(),
                b'Bug %d - a change of something, r=somebody\n\nBody.' % number,
                transaction,
                node,
                nullid,
                user,
                b'%d 0' % (1_500_000_000 + number),
            )
            yield node.hex()
    (root / '.hg' / 'hgrc').write_text(
        '[extensions]\nhgext_headless.push =\nhgext_headless.push:required = yes\n'
        f'[headless]\nrepository = import\ndatabase = {database}\n'
    )


def make_pushlog(path: Path, pushes: int, nodes: Iterator[str]) -> None:
    database = sqlite3.connect(path)
    with database:
        database.executescript(SCHEMA)
        database.executemany(
            'INSERT INTO pushlog VALUES (?, ?, ?)',
            ((i, f'user{i % 1000}@example.com', 1_500_000_000 + i) for i in range(1, pushes + 1)),
        )
        names = itertools.chain(nodes, (f'{i:040x}' for i in itertools.count(1)))
        database.executemany(
            'INSERT INTO changesets VALUES (?, ?, ?)',
            ((1 + rev // EACH, rev, next(names)) for rev in range(pushes * EACH)),
        )
    database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('database')
    parser.add_argument('--pushes', type=int, default=1_000_000)
    parser.add_argument('--changesets', type=int, default=3_000_000)
    arguments = parser.parse_args()
    os.environ['HGRCPATH'] = ''
    with tempfile.TemporaryDirectory() as folder:
        root, older = Path(folder) / 'repository', Path(folder) / 'pushlog2.db'
        nodes = list(make_repository(root, arguments.changesets, arguments.database))
        make_pushlog(older, arguments.pushes, iter(nodes))
        subprocess.run([HG, '-R', root, 'admin::headless-init'], check=True)
        for what in ('import', 'import again'):
            started = time.perf_counter()
            process = subprocess.Popen([HG, '-R', root, 'admin::headless-import-pushlog', older])
            _pid, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            assert status == 0
            print(
                f'{what:14}{seconds:9.1f} s{arguments.pushes / seconds:12.0f} pushes a second'
                f'{usage.ru_maxrss / 1024:8.0f} MB',
                flush=True,
            )


if __name__ == '__main__':
    main()
