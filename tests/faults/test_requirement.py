"""No way in past the extension: the requirement in the repository."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers.documents import block
from helpers.web import fetch
from helpers.world import BELOW_HGWEBDIR, HG, Clone, Server, World, unrequire

from hgext_headless import requirement

UNKNOWN = 'repository requires features unknown to this Mercurial: headless'
SETTINGS_MISSING = (
    'headless: misconfigured: this repository is headless, but no setting of [headless] is in '
    'effect'
)
NO_PUSHES = 'headless: refused: this server takes no pushes'
#: What the system's own hgrc may have.
WEB = '[web]\npush_ssl = no\nallow-push = *\n'
LOADED = '[extensions]\nhgext_headless.push =\nhgext_headless.web =\n'
NO_PUSH, NO_WEB = OFF = [f'--config=extensions.hgext_headless.{e}=!' for e in ('push', 'web')]


def required(root: Path) -> bool:
    return any(
        requirement.NAME in path.read_bytes().split()
        for path in (root / '.hg' / 'requires', root / '.hg' / 'store' / 'requires')
        if path.exists()
    )


def history(root: Path) -> dict[str, bytes]:
    """All of the store that is not a lock."""
    store = root / '.hg' / 'store'
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob('*'))
        if path.is_file() and not path.is_symlink() and path.name not in ('undo', 'lock')
    }


@contextlib.contextmanager
def unchanged(server: Server) -> Iterator[None]:
    before = history(server.root)
    yield
    assert history(server.root) == before


def append(path: Path | str, text: str) -> None:
    with open(path, 'a') as out:
        out.write(text)


@pytest.fixture
def nobody() -> pwd.struct_passwd:
    """A user who can run this Python, and is not the one that runs the tests."""
    if os.geteuid():
        pytest.skip('only root can start servers as another user')
    user = pwd.getpwnam('nobody')
    try:
        subprocess.run([HG, 'version', '-q'], check=True, cwd='/', **as_user(user))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f'the user nobody cannot run {HG}')
    return user


def as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments of `subprocess.Popen`."""
    if user is None:
        return {}
    return {'user': user.pw_uid, 'group': user.pw_gid, 'extra_groups': []}


@pytest.fixture
def open_world() -> Iterator[World]:
    """A world in a folder that every user can reach."""
    with tempfile.TemporaryDirectory(prefix='headless-trust-') as folder:
        os.chmod(folder, 0o755)
        made = World(Path(folder))
        yield made
        made.stop()


@contextlib.contextmanager
def serving(
    world: World, server: Server, *args: str, user: pwd.struct_passwd | None = None
) -> Iterator[str | None]:
    """``hg serve`` as a user; the URL, or None where it refuses to start."""
    with open(world.folder / 'serve.log', 'wb') as log:
        process = subprocess.Popen(
            [HG, '-R', server.root, 'serve', '-a', '127.0.0.1', '-p', '0', *args],
            cwd='/',
            env={**world.env, 'PYTHONUNBUFFERED': '1'},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            **as_user(user),
        )
    try:
        found = re.search(r':(\d+)/', process.stdout.readline())
        yield f'http://127.0.0.1:{found.group(1)}/' if found else None
    finally:
        process.terminate()
        process.communicate()


def ssh_as(world: World, server: Server, user: pwd.struct_passwd | None) -> tuple[str, ...]:
    """Arguments of a client: the server's end runs as a user."""
    ssh = world.folder / 'ssh-as-user'
    become = ''
    if user:
        become = f'os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})\n'
    ssh.write_text(
        f'#!{sys.executable}\nimport os, sys\n{become}'
        "os.execvp('sh', ['sh', '-c', ' '.join(sys.argv[2:])])\n"
    )
    ssh.chmod(0o755)
    return ('--config', f'ui.ssh={ssh}', server.url('ssh'))


def refuses_all(world: World, server: Server, line: str, user: Any = None) -> None:
    """Neither a push nor a pull is served, over http or ssh; a line says why."""
    alice = Clone(world, world.folder / 'alice')
    append(world.env['HGRCPATH'], WEB)
    with unchanged(server):
        with serving(world, server, user=user) as url:
            if url is not None:
                alice.hg_fast('push', url, code=255)
        assert url is None
        log = (world.folder / 'serve.log').read_text()
        over_ssh = ssh_as(world, server, user)
        pushed = alice.hg_fast('push', *over_ssh, code=255)
        pulled = alice.hg_fast('pull', *over_ssh, code=255)
    for text in (log, pushed, pulled):
        assert line in text
        assert 'Traceback' not in text
    assert len(alice.log('draft()')) == 1


@pytest.mark.parametrize(
    'hgrc', ['untrusted', 'missing', pytest.param('unreadable', marks=pytest.mark.slow)]
)
@pytest.mark.parametrize('extensions', ['', LOADED], ids=['not loaded', 'loaded for all'])
def test_hgrc_not_in_effect(world, hgrc, extensions):
    """Nothing gets in, and nothing out."""
    server = Server(world)
    world.clone(str(server.root), 'alice').commit('a')
    path = server.root / '.hg' / 'hgrc'
    if hgrc == 'untrusted':
        if os.geteuid():
            pytest.skip('only root can give a file away')
        os.chown(path, pwd.getpwnam('nobody').pw_uid, -1)
    else:
        path.unlink()
        if hgrc == 'unreadable':  # for root too
            path.mkdir()
    append(world.env['HGRCPATH'], extensions)
    refuses_all(world, server, SETTINGS_MISSING if extensions else UNKNOWN)


@pytest.mark.parametrize(
    ('hgrc', 'extensions'),
    [('missing', ''), ('missing', LOADED), ('untrusted', ''), ('wrong', '')],
    ids=['missing', 'loaded for all', 'untrusted', 'wrong'],
)
def test_hgrc_that_changes_under_a_server(world, make_server, hgrc, extensions):
    """One line for pushes and for pages, and no traceback in the log."""
    line = SETTINGS_MISSING
    server = make_server('embedded')
    append(world.env['HGRCPATH'], extensions)
    url = server.start()
    alice = world.clone(url, 'alice')
    alice.commit('a')
    path = server.root / '.hg' / 'hgrc'
    kept = path.read_text()
    opened_anew = server.root / '.hg' / 'bookmarks'  # hgweb does so when this changes
    if hgrc == 'wrong':
        line = 'headless: misconfigured: headless.database must begin with postgresql+psycopg2'
        server.configure('database = postgresql://x/y')
    elif hgrc == 'missing':
        path.unlink()
    else:
        if os.geteuid():
            pytest.skip('only root can give a file away')
        os.chown(path, pwd.getpwnam('nobody').pw_uid, -1)
    assert BELOW_HGWEBDIR or line in fetch(f'{url}headless-ready')[1].decode()
    opened_anew.touch()
    os.utime(opened_anew, (2, 2))
    out = alice.hg('push', code=255)
    assert line in out and 'temporary' not in out, out
    os.utime(opened_anew, (1, 1))
    # What hgwebdir answers is a page of its own, with links that lead nowhere.
    for page in () if BELOW_HGWEBDIR else ('log', 'headless-ready', 'json-pushes'):
        code, body, _headers = fetch(url + page)
        assert (code, body.count(b'\n')) == (503, 1) and line in body.decode(), body
    # The process lives: to start it again would not help.
    assert BELOW_HGWEBDIR or fetch(f'{url}headless-health')[0] == 200
    assert line in alice.hg('push', code=255)
    # The log says so once, and not for each request.
    assert BELOW_HGWEBDIR or server.errors().count(f'{server.root}: {line}') == 1
    path.unlink(missing_ok=True)
    path.write_text(kept)
    assert 'as push 1' in alice.hg('push')
    assert fetch(f'{url}headless-ready')[0] == 200


@pytest.mark.parametrize('mode', [0o644, 0o600], ids=['untrusted', 'unreadable'])
@pytest.mark.parametrize('extensions', ['', LOADED], ids=['not loaded', 'loaded for all'])
def test_server_of_another_user(open_world, nobody, mode, extensions):
    world = open_world
    server = Server(world)
    world.clone(str(server.root), 'alice').commit('a')
    give_away(server, nobody)
    (server.root / '.hg' / 'hgrc').chmod(mode)
    append(world.env['HGRCPATH'], extensions)
    refuses_all(world, server, SETTINGS_MISSING if extensions else UNKNOWN, nobody)


def give_away(server: Server, user: pwd.struct_passwd) -> None:
    """All but the hgrc to a user."""
    for path in [server.root, *server.root.rglob('*')]:
        if path.name != 'hgrc':
            os.chown(path, user.pw_uid, user.pw_gid)


def test_trusted(open_world, nobody, transport):
    """What the document says of [trusted]."""
    world = open_world
    server = Server(world)
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a')
    give_away(server, nobody)
    append(world.env['HGRCPATH'], WEB + block('trusted').replace('users = hg', 'users = root'))
    if transport == 'http':
        with serving(world, server, user=nobody) as url:
            out = alice.hg_fast('push', url)
    else:
        out = alice.hg_fast('push', *(ssh_as(world, server, nobody) if transport == 'ssh' else ()))
    assert 'as push 1' in out
    assert server.changesets() == 3


@pytest.mark.parametrize(
    'args',
    [
        ('log',),
        ('serve', '-a', '127.0.0.1', '-p', '0'),
        ('clone', '.', '../copy'),
        *(
            pytest.param(args, marks=pytest.mark.slow)
            for args in (
                ('verify',),
                ('commit', '-m', 'x'),
                ('recover',),
                ('debugupgraderepo', '--run'),
                ('bundle', '-a', '../all.hg'),
            )
        ),
    ],
    ids=lambda args: args[0],
)
def test_without_extensions(world, args):
    """Every command of an hg that does not load them."""
    server = Server(world)
    with unchanged(server):
        assert UNKNOWN in server.hg(*args, *OFF, code=255)
        (server.root / '.hg' / 'hgrc').unlink()
        assert UNKNOWN in server.hg(*args, code=255)
        append(world.env['HGRCPATH'], LOADED)
        assert SETTINGS_MISSING in server.hg(*args, code=255)


@pytest.mark.slow
def test_one_extension_of_two(world):
    """Push disabled for one command, or for good: a replica's rules."""
    server = Server(world)
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a')
    with unchanged(server):
        with serving(world, server, NO_PUSH) as url:
            assert NO_PUSHES in alice.hg_fast('push', url, code=255)
    with serving(world, server, NO_WEB) as url:
        assert 'as push 1' in alice.hg_fast('push', url)


@pytest.mark.slow
def test_a_directory_of_repositories(world):
    """One repository's hgrc loads the extensions into the process; that of another is
    not in effect there."""
    good, bad = Server(world, 'good'), Server(world, 'bad')
    (bad.root / '.hg' / 'hgrc').unlink()
    append(world.env['HGRCPATH'], WEB)
    conf = world.folder / 'hgweb.conf'
    conf.write_text(f'[paths]\ngood = {good.root}\nbad = {bad.root}\n')
    out = world.hg(
        'serve', '-d', '--web-conf', conf, '-a', '127.0.0.1', '-p', '0',
        '--pid-file', world.folder / 'pid',
    )  # fmt: skip
    url = f'http://127.0.0.1:{re.search(r":([0-9]+)/", out).group(1)}/'
    try:
        alice = world.clone(f'{url}good', 'alice')
        alice.commit('a')
        assert 'as push 1' in alice.hg_fast('push')
        with unchanged(bad):
            alice.hg_fast('push', f'{url}bad', code=255)
        assert fetch(f'{url}bad/log')[0] in (404, 500)
    finally:
        os.kill(int((world.folder / 'pid').read_text()), 15)


@pytest.mark.slow
def test_replica_takes_no_pushes(world, make_server, transport):
    """A server with the web extension alone."""
    server = make_server('embedded')
    replica = make_server('embedded', name='replica', extensions=('web',))
    alice = world.clone(replica.url(transport), 'alice')
    draft = alice.commit('a')
    alice.hg_fast('bookmark', 'mine')
    with unchanged(replica):
        for args in ((), ('-B', 'mine'), ('--config', 'devel.legacy.exchange=phases,bookmarks')):
            assert alice.hg_fast('push', *args, code=255).count(NO_PUSHES) == 1
        code = 255 if transport == 'path' else 1  # stock's, where an "unbundle" fails
        out = alice.hg_fast('push', '--config', 'devel.legacy.exchange=bundle1', code=code)
        assert out.count(NO_PUSHES) == 1
    assert alice.log('draft()') == [f'{draft} draft']
    # It gets public history by a pull.
    public = server.commit('public3')
    server.hg_fast('phase', '--public', '.')
    replica.hg('pull', '-q', server.root)
    assert replica.log('tip') == [f'{public} public']


@pytest.mark.parametrize('backend', ['embedded', pytest.param('services', marks=pytest.mark.slow)])
def test_repository_of_before(world, make_server, transport, backend):
    """The first push marks it, and so does headless-init."""
    server = make_server(backend)
    unrequire(server.root)
    assert 'wrote the requirement' in server.hg_fast('admin::headless-init')
    assert 'requirement' not in server.hg_fast('admin::headless-init')
    unrequire(server.root)
    alice = world.clone(server.url(transport), 'alice')
    assert not required(server.root)
    alice.commit('a')
    assert 'as push 1' in alice.hg_fast('push')
    assert required(server.root)
    assert UNKNOWN in server.hg('log', *OFF, code=255)
    alice.commit('b')
    assert 'as push 2' in alice.hg_fast('push')


def test_drafts_of_its_own(world):
    """A repository that is to move in is not marked."""
    old = world.init('old')
    old.commit('public')
    old.hg_fast('phase', '--public', '.')
    old.commit('draft')
    append(old.root / '.hg' / 'hgrc', LOADED + '[headless]\nrepository = try\n')
    out = old.hg_fast('admin::headless-init')
    assert 'the requirement was not written: this repository has drafts of its own' in out
    assert not required(old.root)
    alice = world.clone(str(old.root), 'alice')
    alice.commit('b')
    assert 'as push 1' in alice.hg_fast('push', '-f')
    assert not required(old.root)
    # What it moves in to is.
    old.hg_fast('admin::headless-import', '--into', world.folder / 'new')
    assert required(world.folder / 'new')
    assert not required(old.root)
    # And so is the clone that an import of before has made.
    unrequire(world.folder / 'new')
    old.hg_fast('admin::headless-import', '--into', world.folder / 'new')
    assert required(world.folder / 'new')


def test_taking_it_out(world):
    server = Server(world)
    server.hg_fast('admin::headless-init')
    assert 'removed the requirement' in server.hg_fast(
        'admin::headless-init', '--remove-requirement'
    )
    assert server.hg_fast('admin::headless-init', '--remove-requirement') == ''
    (server.root / '.hg' / 'hgrc').unlink()
    assert server.changesets() == 3
    server.verified()


@pytest.mark.slow
def test_without_share_safe(world, make_server):
    """One file has all requirements then."""
    append(world.env['HGRCPATH'], '[format]\nuse-share-safe = no\n')
    server = world.init('server')
    append(server.root / '.hg' / 'hgrc', LOADED + '[headless]\nrepository = try\n')
    server.hg_fast('admin::headless-init')
    assert requirement.NAME in (server.root / '.hg' / 'requires').read_bytes().split()
    assert not (server.root / '.hg' / 'store' / 'requires').exists()
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a')
    alice.hg_fast('push', '-q')
    (server.root / '.hg' / 'hgrc').unlink()
    assert UNKNOWN in server.hg_fast('log', code=255)


CLONES = ((), ('--pull',), ('--stream',), ('-r', '1'))


@pytest.mark.parametrize(
    'loaded',
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=['stock', 'with extensions'],
)
def test_clones_are_ordinary(world, make_server, transport, loaded):
    """The requirement is the server's; also where the client loads the extensions."""
    server = make_server('embedded')
    url = server.url(transport)
    if loaded:
        append(world.env['HGRCPATH'], LOADED)
    for number, args in enumerate(CLONES):
        clone = world.clone(url, f'clone{number}', *args)
        assert not required(clone.root), args
        clone.verified()
        clone.commit('a')
        clone.hg_fast('push', '-q', '-f', '-r', '.')
    assert len(world.clone(url, 'streamed', '--stream').log()) == 3
    assert server.changesets() == 3


def test_stream_bundles(world, make_server):
    server = make_server('embedded')
    server.hg_fast('debugcreatestreamclonebundle', '../stream.hg')
    server.hg_fast('bundle', '-a', '-t', 'none-streamv2', '../v2.hg')
    for name in ('stream.hg', 'v2.hg'):
        clone = world.init(f'from-{name}')
        spec = clone.hg('debugbundle', '--spec', f'../{name}')
        assert 'requirements' in spec and 'headless' not in spec
    clone.hg('debugapplystreamclonebundle', '../stream.hg')
    assert len(clone.log()) == 3
    assert not required(clone.root)
    clone.verified()


@pytest.mark.slow
def test_clone_bundle(world, make_server):
    """A stream clone by a manifest of clone bundles."""
    server = make_server('embedded')
    server.hg_fast('bundle', '-a', '-t', 'none-streamv2', world.folder / 'v2.hg')
    spec = server.hg_fast('debugbundle', '--spec', world.folder / 'v2.hg').strip()
    append(server.root / '.hg' / 'hgrc', '[extensions]\nclonebundles =\n')
    handler = functools.partial(SimpleHTTPRequestHandler, directory=world.folder)
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as cdn:
        threading.Thread(target=cdn.serve_forever, daemon=True).start()
        (server.root / '.hg' / 'clonebundles.manifest').write_text(
            f'http://127.0.0.1:{cdn.server_port}/v2.hg BUNDLESPEC={spec}\n'
        )
        out = world.hg('clone', '--stream', server.url('http'), 'clone')
        cdn.shutdown()
    assert 'applying clone bundle' in out
    assert not required(world.folder / 'clone')


def test_share(world, make_server):
    """A share is guarded by what is in the store, and has the drafts of its source."""
    server = make_server('embedded')
    world.hg('share', server.root, 'share', '--config', 'extensions.share=')
    share = Clone(world, world.folder / 'share')
    alice = world.clone(str(share.root), 'alice')
    draft = alice.commit('a')
    alice.hg_fast('push', '-q')
    assert server.changesets() == 3
    bob = world.clone(server.url('path'), 'bob')
    bob.hg_fast('pull', '-r', draft)
    (server.root / '.hg' / 'hgrc').unlink()
    assert UNKNOWN in world.hg('log', '-R', share.root, code=255)
    assert UNKNOWN in alice.hg('push', code=255)


@pytest.mark.slow
def test_maintenance(world, make_server):
    """What operators do with any repository; the requirement stays."""
    server = make_server('embedded')
    server.hg_fast('verify')
    (server.root / '.hg' / 'store' / 'journal').write_bytes(b'')
    server.hg_fast('recover')
    server.hg_fast('debugupgraderepo', '--run', '--quiet', '--config', 'format.sparse-revlog=no')
    assert required(server.root)
    assert 'sparserevlog' not in (server.root / '.hg' / 'store' / 'requires').read_text()
    server.hg_fast('debugupgraderepo', '--run', '--quiet', '--optimize', 're-delta-all')
    server.hg_fast('debugupgraderepo', '--run', '--quiet', '--config', 'format.use-share-safe=no')
    assert required(server.root)
    server.verified()
    alice = world.clone(server.url('http'), 'alice')
    alice.commit('a')
    assert 'as push 1' in alice.hg_fast('push')


def test_push_from_a_headless_repository(world, make_server):
    """To an ordinary one, as a copy of public history is kept."""
    server = make_server('embedded')
    copy = world.init('copy')
    server.hg('push', '-q', copy.root)
    assert len(copy.log()) == 3
    assert not required(copy.root)


def test_export_gives_an_ordinary_repository(world, make_server):
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a')
    alice.hg_fast('push', '-q')
    world.init('ordinary')
    server.hg_fast('admin::headless-export', world.folder / 'ordinary')
    assert not required(world.folder / 'ordinary')
    assert len(Clone(world, world.folder / 'ordinary').log()) == 4
