"""A public repository as large as those that need this software, made in two minutes.

    python benchmarks/history.py DIR [--public 500000] [--files 50000] [--heads 10000]

Makes DIR/public-FILESxCHANGESETS, and DIR/heads-..., the same with that many draft heads
on changesets all over the newer half. What is there is left alone: runs can share a folder.

One changeset brings the files. Those above it are entries of the changelog that name its
manifest, as an empty commit would; twenty real ones end it, with tags. The draft heads too
are entries of the changelog: what they cost a server is that they are heads.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mercurial import context, localrepo, metadata, phases, ui as uimod
from mercurial.node import nullid, nullrev

HG = os.path.join(os.path.dirname(sys.executable), 'hg')
FOLDER = 1000
REAL = 20
START = 1_300_000_000
#: The folder that drafts change files in.
WORK = b'work'


def open_repository(root: Path, create: bool = False) -> Any:
    """The repository, for a process that reads no configuration of the user."""
    os.environ['HGRCPATH'] = ''
    ui = uimod.ui.load()
    ui.setconfig(b'ui', b'quiet', True)
    return localrepo.instance(ui, os.fsencode(root), create)


def file_names(files: int) -> list[bytes]:
    """A tenth of a folder of files that drafts change, then folders of a thousand."""
    work = min(files, FOLDER) // 10
    names = [b'%s/file%d.py' % (WORK, n) for n in range(work)]
    names += [b'dir%d/sub%d/file%d.py' % (n // FOLDER, n % 31, n) for n in range(files - work)]
    return names


def _content(name: bytes) -> bytes:
    return b''.join(b'%s, line %d\n' % (name, n) for n in range(20))


def _description(number: int) -> bytes:
    return b'Bug %d - a change of something, r=somebody\n\nThe reason for it.' % number


def _user(number: int) -> bytes:
    return b'User %d <user%d@example.com>' % (number % 1000, number % 1000)


def _entry(repo: Any, tr: Any, manifest: bytes, parent: bytes, number: int, **kwargs: Any) -> bytes:
    """An entry of the changelog alone."""
    changed = metadata.ChangingFiles(**kwargs)
    date = START + 600 * number, 0
    user = _user(number)
    return repo.changelog.add(
        manifest, changed, _description(number), tr, parent, nullid, user, date
    )


class _OnDefault:
    """What the cache of branches wants to know of a changeset, and would read again."""

    branchinfo = b'default', False


def _add_files(repo: Any, tr: Any, names: list[bytes]) -> bytes:
    """The first changeset."""
    manifest = repo.manifestlog[nullid].copy()
    for name in names:
        log = repo.file(name, writable=True)
        manifest._manifestdict[name] = log.add(_content(name), {}, tr, 0, nullid, nullid)
    node = manifest.write(tr, 0, nullid, nullid, sorted(names), [])
    return _entry(repo, tr, node, nullid, 0, touched=names, added=names)


def commit(repo: Any, parent: bytes, files: dict[bytes, bytes], text: bytes) -> bytes:
    """A real changeset, without a working copy."""

    def changed(repo: Any, memctx: Any, path: bytes) -> Any:
        return context.memfilectx(repo, memctx, path, files[path])

    made = context.memctx(
        repo, (parent, None), text, sorted(files), changed, b'Test <test@example.com>'
    )
    return repo.commitctx(made)


def _edits(rng: random.Random, names: list[bytes], count: int) -> dict[bytes, bytes]:
    chosen = rng.sample(names, min(count, len(names)))
    return {name: _content(name) + b'%x\n' % rng.getrandbits(64) for name in chosen}


def build(root: Path, public: int, files: int) -> None:
    """A repository with that much public history, its caches warm."""
    names, rng = file_names(files), random.Random(1)
    repo = open_repository(root, create=True)
    with repo.lock():
        with repo.transaction(b'build') as tr:
            tip = _add_files(repo, tr, names)
        manifest = repo.changelog.read(tip)[0]
        # As for a changegroup: its files stay open.
        with repo.transaction(b'build') as tr, repo.changelog._writing(tr):
            for number in range(1, public - REAL):
                tip = _entry(repo, tr, manifest, tip, number)
                repo.register_changeset(number, _OnDefault)
        repo.ui.setconfig(b'phases', b'new-commit', b'public')
        tags = b''.join(
            b'%s release-%d\n' % (repo.changelog.node(rev).hex().encode(), rev)
            for rev in range(0, public - REAL, max(1, public // 20))
        )
        with repo.transaction(b'build'):
            for number in range(REAL):
                edits = _edits(rng, names, 3)
                if not number:
                    edits[b'.hgtags'] = tags
                tip = commit(repo, tip, edits, b'a real change %d' % number)
    _warm(root)
    _check(root, public, files)


def add_heads(root: Path, heads: int) -> None:
    """Draft heads, on changesets all over the newer half."""
    repo, rng = open_repository(root), random.Random(2)
    public = len(repo)
    with repo.lock(), repo.transaction(b'build') as tr:
        made = []
        for number in range(heads):
            parent = repo.changelog.node(rng.randrange(public // 2, public))
            manifest = repo.changelog.read(parent)[0]
            made.append(_entry(repo, tr, manifest, parent, public + number))
        # What was added beneath hg's commit is public until somebody says otherwise.
        phases.retractboundary(repo, tr, phases.draft, made)
    _warm(root)


def _warm(root: Path) -> None:
    """Write the caches that a server has: branches, tags, and so on."""
    env = {**os.environ, 'HGRCPATH': ''}
    subprocess.run([HG, '-R', root, 'debugupdatecaches'], env=env, check=True)
    subprocess.run([HG, '-R', root, 'tags', '-q'], env=env, check=True, stdout=subprocess.DEVNULL)


def _check(root: Path, public: int, files: int) -> None:
    """Read what a verify of the tip alone would."""
    repo = open_repository(root)
    assert len(repo) == public, len(repo)
    tip = repo[b'tip']
    assert repo.changelog.headrevs() == [tip.rev()]
    assert not any(repo._phasecache.getrevset(repo, [phases.draft]))
    names = list(tip.manifest())
    assert len(names) == files + 1, len(names)
    for name in random.Random(3).sample(names, min(500, files)):
        assert tip[name].data(), name
    for rev in (*range(10), *random.Random(4).sample(range(10, public), 40)):
        assert repo[rev].p1().rev() == (rev - 1 if rev else nullrev)
        assert repo[rev].manifest()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system
        shutil.copy2(source, target)


def copy(source: Path, target: Path) -> None:
    """A copy of a repository, as fast as can be.

    The histories of files are hard links, as in a local clone: hg copies what it appends to.
    """
    data = source / '.hg' / 'store' / 'data'

    def ignore(folder: str, found: list[str]) -> list[str]:
        return ['data'] if folder == str(data.parent) else []

    shutil.copytree(source / '.hg', target / '.hg', ignore=ignore)
    shutil.copytree(data, target / '.hg' / 'store' / 'data', copy_function=_link)


def made(folder: Path, public: int, files: int, heads: int) -> tuple[Path, Path]:
    """The two repositories of a folder, made if they are not there."""
    history = folder / f'public-{files}x{public}'
    headed = folder / f'heads-{files}x{public}+{heads}'
    folder.mkdir(parents=True, exist_ok=True)

    def build_headed(root: Path) -> None:
        copy(history, root)
        add_heads(root, heads)

    for root, make in (
        (history, lambda root: build(root, public, files)),
        (headed, build_headed),
    ):
        if not root.exists():
            # What is half made has another name.
            half = root.with_suffix(f'.{os.getpid()}')
            started = time.monotonic()
            make(half)
            half.rename(root)
            print(f'{root}: made in {time.monotonic() - started:.0f} s', flush=True)
    return history, headed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--public', type=int, default=500_000)
    parser.add_argument('--files', type=int, default=50_000)
    parser.add_argument('--heads', type=int, default=10_000)
    args = parser.parse_args()
    made(args.folder, args.public, args.files, args.heads)


if __name__ == '__main__':
    main()
