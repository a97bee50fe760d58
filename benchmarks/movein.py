"""``admin::headless-import`` of a large many-headed repository: time, rate and memory.

    python benchmarks/movein.py [--public N] [--heads N] [--database URL] [--keep DIR]

Makes a repository with public history and draft heads (one to three drafts each, on
bases all over the history), imports it with --into as an hg process, on the embedded
defaults or in the empty Postgres database at URL, and imports it again. What to aim at:
10,000 heads over 20,000 public changesets in less than 150 seconds on two cores, with
memory at the end as at the beginning.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mercurial import localrepo, metadata, phases, ui as uimod
from mercurial.node import nullid

FILES = 400
LINES = 60


class Builder:
    """Adds changesets without a working copy, by Mercurial's storage alone."""

    def __init__(self, root: Path, seed: int) -> None:
        ui = uimod.ui.load()
        ui.setconfig(b'ui', b'quiet', True)
        self.repo = localrepo.instance(ui, os.fsencode(root), True)
        self._random = random.Random(seed)

    def _content(self, name: bytes) -> bytes:
        lines = [b'%s line %d: %x' % (name, n, self._random.getrandbits(64)) for n in range(LINES)]
        return b'\n'.join(lines) + b'\n'

    def add(self, tr, parent: bytes, names: list[bytes], text: bytes) -> bytes:
        """A changeset that changes a line of each file, or makes the file."""
        repo = self.repo
        link = len(repo.changelog)
        before = repo.manifestlog[
            repo.changelog.read(parent)[0] if parent != nullid else nullid
        ]
        manifest = before.copy()
        for name in names:
            log = repo.file(name, writable=True)
            old = manifest._manifestdict.get(name) or nullid
            if old == nullid:
                data = self._content(name)
            else:
                lines = log.read(old).split(b'\n')
                lines[self._random.randrange(LINES)] = b'%s: %x' % (
                    text,
                    self._random.getrandbits(64),
                )
                data = b'\n'.join(lines)
            manifest._manifestdict[name] = log.add(data, {}, tr, link, old, nullid)
        node = manifest.write(tr, link, before.node(), nullid, sorted(names), [])
        return repo.changelog.add(
            node,
            metadata.ChangingFiles(touched=names),
            text,
            tr,
            parent,
            nullid,
            b'Somebody <s@example.com>',
            (link, 0),
        )

    def build(self, public: int, heads: int) -> None:
        repo, rng = self.repo, self._random
        names = [b'dir%d/sub%d/file%d.py' % (n % 7, n % 31, n) for n in range(FILES)]
        with repo.lock(), repo.transaction(b'build') as tr:
            tip = self.add(tr, nullid, names, b'the beginning')
            nodes = [tip]
            for number in range(1, public):
                tip = self.add(tr, tip, rng.sample(names, 3), b'public change %d' % number)
                nodes.append(tip)
            roots = []
            for number in range(heads):
                parent = rng.choice(nodes)
                for place in range(rng.randint(1, 3)):
                    text = b'draft %d, patch %d' % (number, place)
                    parent = self.add(tr, parent, rng.sample(names, rng.randint(1, 6)), text)
                    if not place:
                        roots.append(parent)
            # What was added beneath hg's commit is public until somebody says otherwise.
            phases.retractboundary(repo, tr, phases.draft, roots)


def memory(pid: int, what: str) -> int:
    """``VmRSS`` or ``VmHWM`` of a process in MB."""
    try:
        found = re.search(rf'{what}:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())
    except OSError:
        found = None
    return int(found.group(1)) // 1024 if found else 0


def imported(command: list[str], env: dict[str, str]) -> None:
    """Run the import; print its line, and its memory as the progress bar tells it."""
    started = time.monotonic()
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        peak, marks, shown = 0, [1, 10, 25, 50, 75, 99], ''
        while process.poll() is None:
            time.sleep(0.1)
            peak = memory(process.pid, 'VmHWM') or peak
            start = max(0, os.fstat(log.fileno()).st_size - 4000)
            shown = os.pread(log.fileno(), 4000, start).decode()
            for done, total in re.findall(r'importing .*?(\d+)/(\d+)', shown)[-1:]:
                while marks and int(done) * 100 >= marks[0] * int(total):
                    print(
                        f'{marks.pop(0):4} %  {time.monotonic() - started:7.1f} s'
                        f'  RSS {memory(process.pid, "VmRSS")} MB, peak {peak} MB',
                        flush=True,
                    )
        print(process.stdout.read().strip())
        seconds = time.monotonic() - started
        print(f' all   {seconds:7.1f} s  peak {peak} MB, exit {process.returncode}', flush=True)
        if process.returncode:
            raise SystemExit(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--public', type=int, default=20000)
    parser.add_argument('--heads', type=int, default=10000)
    parser.add_argument('--database')
    parser.add_argument('--keep', type=Path, help='build and leave everything in this folder')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        old = folder / 'old'
        started = time.monotonic()
        if not old.exists():
            Builder(old, seed=1).build(args.public, args.heads)
            print(f'built in {time.monotonic() - started:.1f} s', flush=True)
        database = f'database = {args.database}\nlink-secret = x\n' if args.database else ''
        (old / '.hg' / 'hgrc').write_text(
            '[extensions]\nhgext_headless.push =\n[headless]\nrepository = movein\n' + database
        )
        hg = os.path.join(os.path.dirname(sys.executable), 'hg')
        env = {**os.environ, 'HGRCPATH': '', 'HGPLAINEXCEPT': 'progress'}
        if args.database:
            subprocess.run([hg, '-R', old, 'admin::headless-init'], env=env, check=True)
        progress = 'progress.assume-tty=yes', 'progress.delay=0', 'progress.refresh=0.2'
        command = [
            hg,
            '-R',
            str(old),
            *(word for item in progress for word in ('--config', item)),
            'admin::headless-import',
            '--into',
            str(folder / 'new'),
            '-T',
            'json',
        ]
        imported(command, env)
        print('again:')
        imported(command, env)


if __name__ == '__main__':
    main()
