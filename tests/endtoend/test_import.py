"""``admin::headless-import``: an old repository's drafts move in."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from conftest import EITHER, fresh
from helpers import many_drafts
from helpers.web import fetch_json
from helpers.world import HG, Clone, Server, World
from mercurial import localrepo, ui as uimod

from hgext_headless.bundles import write
from hgext_headless.bundles.ancestry import Stack
from hgext_headless.errors import Corrupt

#: Public history, then drafts: two heads with a common ancestor and their merge, one
#: on an old base, one with a root of its own, one on another branch, and a secret one.
SHAPES = '+2:old +3:pub +2:a <a +1:b <a +2:c *b/c:m <old +2:d $ +1:root <pub @other +1:e <pub +1:s'


class Moved(Server):
    """A clone that an import has written, as it is."""

    def __init__(self, world: World, root: Path) -> None:
        Clone.__init__(self, world, root)
        self._url, self._processes = None, []
        self.extra_env = {}


def built(world: World, dag: str, name: str = 'old') -> Clone:
    """An ordinary repository with ``dag``, whose changesets are public up to ``pub``."""
    old = world.init(name)
    old.hg('debugbuilddag', '-q', '-n', dag)
    old.hg_fast('phase', '--public', '-r', 'pub')
    return old


def configured(old: Clone, settings: str = '', name: str = 'try') -> None:
    (old.root / '.hg' / 'hgrc').write_text(
        '[extensions]\nhgext_headless.push =\nhgext_headless.push:required = yes\n'
        f'[headless]\nrepository = {name}\n{settings}'
    )


def moved(old: Clone, *args: str, code: int = 0) -> dict[str, float]:
    out = old.hg_fast('admin::headless-import', '-T', 'json', *args, code=code)
    [facts] = json.loads(out)
    return facts


def contents(root: Path) -> dict[str, bytes]:
    """All that a repository is: without its caches, which hg writes when it reads."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.is_file() and not {'cache', 'wcache'} & set(path.relative_to(root).parts)
    }


@pytest.mark.parametrize('backend', EITHER)
def test_a_repository_moves_in(world, backend, request) -> None:
    old = built(world, SHAPES)
    # A graft has the file revision of its origin.
    old.hg_fast('update', '-q', 'pub')
    old.hg_fast('graft', '-q', '-r', 'd', '--config', 'ui.merge=:local')
    old.hg_fast('bookmark', '-q', '-r', 'm', 'on-a-draft')
    old.hg_fast('bookmark', '-q', '-r', 'pub', 'on-public')
    old.hg_fast('phase', '-q', '--secret', '--force', '-r', 's')
    clone_of_old = world.clone(str(old.root), 'clone-of-old', '--pull', '-U')
    settings = ''
    if backend == 'services':
        settings = fresh(world, request.getfixturevalue('services'))
    configured(old, settings)
    if backend == 'services':
        old.hg_fast('admin::headless-init')
    before = contents(old.root)
    into = ('--into', str(world.folder / 'new'))

    would = moved(old, *into, '--dry-run')
    assert would == {'heads': 5, 'changesets': 11, 'stored': 0}
    assert not (world.folder / 'new').exists()
    done = moved(old, *into)
    assert (done['bundles'], done['changesets'], done['stored']) == (5, 11, 0)
    assert contents(old.root) == before

    new = Moved(world, world.folder / 'new')
    assert (new.root / '.hg' / 'hgrc').stat().st_mode & 0o777 == 0o600
    assert new.changesets() == 5 and new.log('not public()') == []
    assert 'on-public' in new.hg_fast('bookmarks') and 'on-a-draft' not in new.hg_fast('bookmarks')
    new.verified()
    url = new.start()
    try:
        drafts = old.log('heads(draft())', '{node}\n')
        clone = world.clone(url, 'clone')
        for head in drafts:
            clone.hg_fast('pull', '-q', '-r', head)
        assert clone.facts('all()') == clone_of_old.facts('all()')
        assert clone.log('draft()', '{node}\n') != []
        clone.verified()
        marked = world.hg('identify', '--id', '-r', 'on-a-draft', url).strip()
        assert marked == old.node('m')[:12]
        secret = old.node('s')
        assert 'unknown revision' in clone.hg_fast('pull', '-r', secret, code=255)
    finally:
        new.stop()
    assert 'Traceback' not in new.errors()

    again = moved(old, *into)
    assert (again['bundles'], again['stored']) == (0, 5)
    out = old.hg_fast('admin::headless-import', *into)
    assert 'nothing to import: 5 draft heads stored already' in out
    # What came since then: a draft on public history that is new itself.
    (old.root / '.hg' / 'hgrc').rename(world.folder / 'old.hgrc')
    old.hg_fast('update', '-q', '-C', 'pub')
    old.commit('more')
    old.hg_fast('phase', '--public', '-r', '.')
    late = old.commit('late')
    (world.folder / 'old.hgrc').rename(old.root / '.hg' / 'hgrc')
    # As a run leaves the clone that is killed while it pulls.
    (new.root / '.hg' / 'store' / 'journal').write_bytes(b'')
    assert moved(old, *into)['bundles'] == 1
    assert new.changesets() == 6
    other = world.clone(f'ssh://localhost/{new.root}', 'other')
    other.hg_fast('pull', '-q', '-r', late)
    other.verified()


def test_into_its_own_settings_and_some_of_them(world) -> None:
    """Without --into the drafts go where the settings say."""
    old = built(world, '+3:pub +2:a <pub +1:b')
    home = world.folder / 'home'
    home.mkdir()
    configured(old, f'database = sqlite:///{home}/db\nstore = file://{home}/store\n')
    old.hg_fast('admin::headless-init')
    assert moved(old, '-r', 'a')['changesets'] == 2
    out = old.hg_fast('admin::headless-import', '--dry-run')
    assert '2 draft heads with 3 changesets: 1 stored already, 1 would be' in out
    assert moved(old)['changesets'] == 1
    assert len(list(home.rglob('*.hg'))) == 2
    assert 'unknown revision' in old.hg_fast('admin::headless-import', '-r', 'nobody', code=255)


def test_nothing_to_move(world) -> None:
    old = world.init('old')
    configured(old)
    done = moved(old, '--into', str(world.folder / 'new'))
    assert (done['heads'], done['bundles']) == (0, 0)
    assert 'nothing' in old.hg_fast('admin::headless-import', '--into', str(world.folder / 'new'))
    assert Clone(world, world.folder / 'new').hg_fast('log') == ''


def test_clashes(world) -> None:
    old = built(world, '+3:pub +1')
    configured(old)
    folder = world.folder / 'folder'
    folder.mkdir()
    (folder / 'file').write_text('')
    other = world.init('other')
    other.commit('file')
    other.hg_fast('phase', '--public', '-r', '.')
    world.clone(str(old.root), 'with-drafts', '-U')
    world.clone(str(old.root), 'plain', '-U', '-r', 'pub')
    named = world.clone(str(old.root), 'named', '-U', '-r', 'pub')
    (named.root / '.hg' / 'hgrc').write_text('[headless]\nrepository = another\n')
    for target, why in (
        ('folder', 'is not a repository'),
        ('other', 'is an unrelated repository'),
        ('with-drafts', 'has drafts of its own'),
        ('plain', 'has no [headless] settings'),
        ('named', 'is the headless repository "another"'),
        ('old', 'is this repository itself'),
        ('nowhere/new', 'the folder to make it in does not exist'),
    ):
        before = contents(world.folder)
        out = old.hg_fast('admin::headless-import', '--into', str(world.folder / target), code=255)
        assert why in out and len(out.splitlines()) == 1, out
        assert contents(world.folder) == before


def test_damaged_drafts_stay_out(world) -> None:
    old = built(world, '+3:pub +1:a <pub +1:b')
    configured(old)
    damaged = old.root / '.hg' / 'store' / 'data' / 'nf3.i'
    data = bytearray(damaged.read_bytes())
    data[-3] ^= 1
    damaged.write_bytes(data)
    into = ('--into', str(world.folder / 'new'))
    out = old.hg_fast('admin::headless-import', *into, code=255)
    assert f'headless: corrupt: draft {old.node("a")}' in out and 'Traceback' not in out
    assert moved(old, '-r', 'b', *into)['bundles'] == 1


def test_a_bundle_that_needs_another_draft_is_found_out(world) -> None:
    old = built(world, '+3:pub +2:a')
    world.clone(str(old.root), 'public', '-U', '-r', 'pub')
    ui = uimod.ui.load()
    repo, public = (
        localrepo.instance(ui, os.fsencode(world.folder / name), False)
        for name in ('old', 'public')
    )
    base, *nodes = (repo.changelog.node(rev) for rev in (2, 3, 4))
    folder = str(world.folder)
    good = Stack(tuple(nodes), (base,))
    assert len(write.write_checked(repo, public, 'try', good, folder)[2]) == 2
    bad = Stack((nodes[1],), (nodes[0],))
    with pytest.raises(Corrupt, match='is missing'):
        write.write_checked(repo, public, 'try', bad, folder)
    with pytest.raises(Corrupt, match='does not hold the changesets'):
        write.write_checked(repo, public, 'try', Stack((nodes[1],), (base,)), folder)


@pytest.mark.slow
def test_killed_in_the_middle(world) -> None:
    heads = 120
    old = built(world, '+4:pub' + ' <pub +2' * heads)
    everything = world.clone(str(old.root), 'everything', '-U', '--pull')
    configured(old)
    new = world.folder / 'new'
    leftover = world.folder / '.new.headless-import'
    leftover.mkdir()
    (leftover / 'half').write_text('')
    into = ('--into', str(new))
    process = subprocess.Popen(
        [HG, 'admin::headless-import', *into], cwd=old.root, env=world.env
    )
    database = new / '.hg' / 'headless' / 'catalog.sqlite'
    deadline = time.monotonic() + 100
    while recorded(database) == 0:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < recorded(database) < heads
    assert not leftover.exists()

    done = moved(old, *into)
    assert done['stored'] > 0 and done['stored'] + done['bundles'] == heads
    url = f'ssh://localhost/{new}'
    some = everything.log('heads(all())', '{node}\n')[::40]
    clone = world.clone(url, 'clone')
    clone.hg_fast('pull', '-q', *(word for head in some for word in ('-r', head)))
    revs = '+'.join(some)
    assert clone.facts('::(' + revs + ')') == everything.facts('::(' + revs + ')')
    Clone(world, new).verified()
    # A bundle is written anew with the same bytes: nothing is left for gc.
    with sqlite3.connect(database) as connection:
        keys = {key for (key,) in connection.execute('SELECT key FROM bundles')}
    store = new / '.hg' / 'headless' / 'store'
    assert {str(path.relative_to(store)) for path in store.rglob('*.hg')} == keys


@pytest.mark.slow
def test_one_of_several_processes_is_killed(world) -> None:
    """And somebody interrupts all: there is one line, and no temporary folder is left."""
    old = built(world, '+1:pub')
    many_drafts.heads(old, 300, 'pub', 'head')
    configured(old)
    new = world.folder / 'new'
    folder = world.folder / 'tmp'
    folder.mkdir()
    world.env['TMPDIR'] = str(folder)

    def signalled(number: int, *args: str, cwd: Path) -> str:
        process = subprocess.Popen(
            [HG, *args],
            cwd=cwd,
            env=world.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell's background ignores it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        children = Path(f'/proc/{process.pid}/task/{process.pid}/children')
        while not any(folder.glob('*/*/*')):
            assert process.poll() is None
            time.sleep(0.01)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            os.kill(int(children.read_text().split()[0]), number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 255 and list(folder.iterdir()) == []
        return err

    into = ('admin::headless-import', '-q', '--into', str(new))
    killed = 'abort: headless: temporary: a process that shared the work has ended, or was killed'
    assert re.fullmatch(f'{killed} .*\n', signalled(signal.SIGKILL, *into, cwd=old.root))
    assert signalled(signal.SIGINT, *into, cwd=old.root) == 'interrupted!\n'
    old.hg(*into)
    verify = ('admin::headless-verify', '--full')
    assert re.fullmatch(f'{killed}; .*\n', signalled(signal.SIGKILL, *verify, cwd=new))
    assert signalled(signal.SIGINT, *verify, cwd=new) == 'interrupted!\n'
    assert '300 bundles and 0 pushes checked, all is well' in world.hg(*verify, cwd=new)


def recorded(database: Path) -> int:
    if not database.exists():
        return 0
    try:
        with sqlite3.connect(f'file:{database}?mode=ro', uri=True) as connection:
            return connection.execute('SELECT count(*) FROM bundles').fetchone()[0]
    except sqlite3.OperationalError:  # no tables yet
        return 0


@pytest.mark.slow
def test_markers_move_in(world) -> None:
    with open(world.env['HGRCPATH'], 'a') as hgrc:
        hgrc.write('[experimental]\nevolution = all\n')
    old = built(world, '+2:pub')
    old.hg_fast('update', '-q', 'pub')
    before = old.commit('draft')
    bob = world.clone(str(old.root), 'bob')
    bob.hg_fast('phase', '-q', '--draft', '--force', '-r', before)
    bob.hg_fast('update', '-q', 'null')
    old.hg_fast('phase', '-q', '--draft', '--force', '-r', before)
    old.hg_fast('commit', '-q', '--amend', '-m', 'amended')
    after = old.node('.')
    configured(old)
    assert moved(old, '--into', str(world.folder / 'new'))['changesets'] == 1
    bob.hg_fast('pull', '-q', '-r', after, str(world.folder / 'new'))
    assert bob.log('draft()', '{node}\n') == [after]  # and the other one is hidden


@pytest.mark.slow
def test_pushes_on_what_moved_in(world) -> None:
    """The pushlog goes on, though nobody knows who pushed what they build on; and what
    has expired comes back to the push that brought it, when it moves in again."""
    old = built(world, '+3:pub +2:a <pub +1:b')
    configured(old)
    into = ('--into', str(world.folder / 'new'))
    moved(old, *into)
    new = Moved(world, world.folder / 'new')
    alice = world.clone(str(new.root), 'alice', '-r', old.node('a'))
    alice.hg_fast('update', '-q', 'tip')
    child = alice.commit('child')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    alice.hg_fast('update', '-q', '2')
    other = alice.commit('other')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    with open(new.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[web]\npush_ssl = no\nallow-push = *\n')
    try:
        found = fetch_json(f'{new.start()}json-pushes?version=2')
        assert found['lastpushid'] == 2
        assert [found['pushes'][i]['changesets'] for i in '12'] == [[child], [other]]
        # As if it had moved in from there.
        (old.root / '.hg' / 'hgrc').unlink()
        old.hg('pull', '-q', '-f', str(alice.root), '--config', 'phases.publish=no')
        old.hg_fast('phase', '-q', '--draft', '--force', '-r', other)
        configured(old)
        new.hg_fast('admin::headless-expire', '--push', '2')
        full = f'{new.start()}json-pushes?changeset={other}&full=1'
        assert fetch_json(full)['2']['changesets'] == []
        assert moved(old, *into)['bundles'] == 1
        assert fetch_json(full)['2']['changesets'][0]['desc'] == 'other'
        out = new.hg_fast('admin::headless-expire', '--push', '2', '-n')
        assert out.startswith('would expire 1 draft')
        # What was removed for good does not come back.
        new.hg_fast('admin::headless-obliterate', other, '--reason', 'x')
        assert f'left out {other}' in old.hg_fast('admin::headless-import', *into)
        assert 'all is well' in new.hg_fast('admin::headless-verify')
    finally:
        new.stop()
