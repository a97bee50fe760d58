"""Bad input and bad luck: one clear line, nothing half done."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest


def refused_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def check_failed_push(server, clone, kind, *, public=3):
    """One line, of a kind; the server as it was, the client's draft a draft."""
    started = time.monotonic()
    out = clone.hg('push', '-f', code=255)
    assert time.monotonic() - started < 35
    lines = [line for line in out.splitlines() if 'headless:' in line]
    assert len(lines) == 1, out
    assert f'headless: {kind}: ' in lines[0], out
    assert server.changesets() == public
    assert all(line.endswith('draft') for line in clone.log('draft()'))
    return lines[0]


@pytest.mark.parametrize(
    ('broken', 'transport'),
    [
        ('database', 'http'),
        ('store', 'ssh'),
        ('credentials', 'http'),
        pytest.param('database', 'ssh', marks=pytest.mark.slow),
        pytest.param('store', 'http', marks=pytest.mark.slow),
        pytest.param('credentials', 'ssh', marks=pytest.mark.slow),
    ],
)
def test_services_down(world, make_server, transport, broken):
    server = make_server('services')
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('a')
    hgrc = server.root / '.hg' / 'hgrc'
    text = hgrc.read_text()
    if broken == 'database':
        text = re.sub(
            'database = .*',
            f'database = postgresql+psycopg2://u:geheim@127.0.0.1:{refused_port()}/x',
            text,
        )
    elif broken == 'store':
        text = re.sub(
            's3-endpoint-url = .*', f's3-endpoint-url = http://127.0.0.1:{refused_port()}', text
        )
    else:
        world.env['AWS_SECRET_ACCESS_KEY'] = 'wrong'
    hgrc.write_text(text)
    if transport == 'http':
        server.stop()
        alice.hg('paths')
        url = server.start()
        (alice.root / '.hg' / 'hgrc').write_text(f'[paths]\ndefault = {url}\n')
    line = check_failed_push(server, alice, 'temporary')
    assert 'geheim' not in line
    bob = world.clone(server.url(transport), 'bob')
    assert 'no changes found' in bob.hg('pull') and len(bob.log()) == 3


@pytest.mark.slow
@pytest.mark.parametrize('slow', ['database', 'store'])
def test_services_that_hang(world, make_server, slow):
    server = make_server('services')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen(20)
        port = silent.getsockname()[1]
        hgrc = server.root / '.hg' / 'hgrc'
        text = hgrc.read_text()
        if slow == 'database':
            text = re.sub(
                'database = .*', f'database = postgresql+psycopg2://u@127.0.0.1:{port}/x', text
            )
        else:
            text = re.sub(
                's3-endpoint-url = .*', f's3-endpoint-url = http://127.0.0.1:{port}', text
            )
        hgrc.write_text(text)
        check_failed_push(server, alice, 'temporary')


def test_missing_schema(world, make_server):
    server = make_server('embedded')
    database = world.folder / 'other.sqlite'
    server.configure(f'database = sqlite:///{database}\nlink-secret = s\n')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    line = check_failed_push(server, alice, 'misconfigured')
    assert 'hg admin::headless-init' in line
    server.hg('admin::headless-init')
    assert 'as push 1' in alice.hg('push')
    assert 'up to date' in server.hg('admin::headless-init')


def test_newer_schema(world, make_server):
    server = make_server('embedded')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    alice.hg('push')
    server.sql("UPDATE alembic_version SET version_num = '9999'")
    alice.commit('b')
    assert 'newer (9999)' in check_failed_push(server, alice, 'misconfigured')


def test_missing_package(world, make_server):
    """Fail closed: what can't be imported does not let a draft in."""
    server = make_server('embedded')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    fake = world.folder / 'fake'
    fake.mkdir()
    (fake / 'sqlalchemy.py').write_text('raise ImportError("no sqlalchemy here")\n')
    world.env['PYTHONPATH'] = str(fake)
    assert 'no sqlalchemy here' in check_failed_push(server, alice, 'misconfigured')


WRONG = [
    ('public', 'maybe'),
    ('max-push-size', 'huge'),
    ('max-push-size', '0'),
    ('max-push-size', '6 GB\nstore = s3://drafts'),
    ('link-ttl', '604801'),
    ('link-ttl', 'x'),
    ('inline', 'sometimes'),
    ('database', 'postgresql://x/y'),
    ('store', 'ftp://x'),
    ('repository', 'a/b'),
    ('bundle-url', 'ftp://x'),
    ('link-base', 'https://h/' + 'x' * 200),
]


def test_wrong_item(world, make_server):
    server = make_server('embedded')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    for item, value in WRONG:
        server.configure(f'{item} = {value}\n')
        (line,) = server.hg('log', code=255).splitlines()
        assert f'headless.{item}' in line
        assert item in alice.hg('push', code=255)
    server.configure('')
    assert server.changesets() == 3


@pytest.mark.parametrize('requirement', ['lfs', 'treemanifest'])
def test_repositories_that_cannot_be(world, make_server, requirement):
    server = make_server('embedded', public=0)
    with open(server.root / '.hg' / 'requires', 'a') as requires:
        requires.write(f'{requirement}\n')
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[extensions]\nlfs =\n')
    out = server.hg('log', code=255)
    assert f'requirement "{requirement}"' in out


_EVIL = """
import sys
from mercurial import context, hg, ui as uimod
ui = uimod.ui.load()
repo = hg.repository(ui, sys.argv[1].encode())
name = sys.argv[2].encode()
def content(repo, memctx, path):
    return context.memfilectx(repo, memctx, path, b'data')
with repo.lock():
    node = context.memctx(
        repo, (repo[b'tip'].node(), None), b'evil', [name], content, b'evil').commit()
"""


def test_file_names_that_lie(world, make_server):
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    for name in ('../x', '.hg/hgrc', 'a/../../x', '.HG/hgrc', 'sub/.hg/hgrc'):
        subprocess.run([sys.executable, '-c', _EVIL, alice.root, name], env=world.env, check=True)
        assert alice.log('draft()')
        line = check_failed_push(server, alice, 'refused')
        assert f"'{name}'" in line
        alice.hg('--config', 'extensions.strip=', 'strip', '-q', '--no-backup', 'draft()')


def test_too_large(world, make_server, transport):
    server = make_server('embedded', settings='max-push-size = 1 MB\n')
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('a', b'0' * 2_000_000)  # compresses well
    assert 'max-push-size' in check_failed_push(server, alice, 'refused')


_MAKE = """
import io, sys
from mercurial import bundle2, ui as uimod, util
from mercurial.utils import compression
kind, path = sys.argv[1:]
ui = uimod.ui.load()
b = bundle2.bundle20(ui)
if kind == 'unknown part':
    b.newpart(b'NOSUCHPART', data=b'x')
elif kind == 'unknown version':
    part = b.newpart(b'changegroup', data=b'x')
    part.addparam(b'version', b'99')
elif kind == 'bomb':
    import struct
    def stream():
        yield b'HG20'
        params = b'Compression=ZS'
        yield struct.pack('>i', len(params)) + params
        def inner():
            header = bytes([11]) + b'CHANGEGROUP' + struct.pack('>I', 0) + bytes([1, 0])
            header += bytes([7, 2]) + b'version' + b'02'
            yield struct.pack('>i', len(header)) + header
            # One chunk of a changegroup, in payload chunks as hg makes them, or as one.
            size = 600 * 1024 * 1024
            yield struct.pack('>i', size)
            yield struct.pack('>i', size)
            for _ in range(size // (1 << 20)):
                yield bytes(1 << 20)
        engine = util.compengines[b'zstd']
        yield from engine.compressstream(inner())
    with open(path, 'wb') as out:
        out.writelines(stream())
    sys.exit()
elif kind == 'small chunks':
    import struct
    def data():
        yield struct.pack('>l', 600 * 1024 * 1024)
        for _ in range(600):
            yield bytes(1 << 20)
    part = b.newpart(b'changegroup', data=data())
    part.addparam(b'version', b'02')
    b.setcompression(b'ZS')
with open(path, 'wb') as out:
    out.writelines(b.getchunks())
"""


def post(server, body: bytes) -> str:
    """Send a bundle to ``unbundle`` as a client would; what the server says."""
    request = urllib.request.Request(
        server.start() + '?cmd=unbundle',
        data=body,
        headers={
            'Content-Type': 'application/mercurial-0.1',
            'X-HgArg-1': 'heads=666f726365',
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode('utf-8', 'replace')
    except urllib.error.HTTPError as error:
        return error.read().decode('utf-8', 'replace')


def made(world, kind) -> bytes:
    path = world.folder / 'made.hg'
    subprocess.run([sys.executable, '-c', _MAKE, kind, path], env=world.env, check=True)
    return path.read_bytes()


@pytest.mark.parametrize('kind', ['unknown part', 'unknown version'])
def test_unknown(world, make_server, kind):
    server = make_server('embedded')
    answer = post(server, made(world, kind))
    assert 'headless: refused' in answer, answer
    assert ('nosuchpart' in answer.lower()) == (kind == 'unknown part')


@pytest.mark.parametrize('kind', ['bomb', 'small chunks'])
def test_bomb(world, make_server, kind):
    """A chunk of 600 MB in a tiny stream does not make the server large."""
    server = make_server('embedded')
    post(server, made(world, 'unknown part'))  # what is imported is imported
    pid = server.pid

    def high_water() -> int:
        with open(f'/proc/{pid}/status') as status:
            return int(re.search(r'VmHWM:\s*(\d+)', status.read()).group(1)) // 1024

    before = high_water()
    body = made(world, kind)
    assert len(body) < 200_000
    answer = post(server, body)
    assert 'headless: refused' in answer, answer
    assert high_water() - before < 200


def bundle_of(clone) -> bytes:
    clone.hg('bundle', '-q', '-t', 'none-v2', '--base', 'public()', '-r', '.', 'b.hg')
    return (clone.root / 'b.hg').read_bytes()


def test_truncated_and_changed(world, make_server):
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    tip = alice.commit('a', 'some content that stands in the bundle\n')
    body = bundle_of(alice)
    for cut in (10, 60, len(body) // 2, len(body) - 30):
        answer = post(server, body[:cut])
        assert re.search('headless: (temporary|refused)', answer), (cut, answer)
    changed = body.replace(b'some content that', b'evil content that')
    assert changed != body
    answer = post(server, changed)
    assert 'headless: refused: a revision does not fit its hash' in answer
    assert server.changesets() == 3
    assert 'unknown revision' in alice.hg('identify', '-r', tip, server.start(), code=255)
    assert 'as push 1' in post(server, body)


def test_lost_object(world, make_server):
    """A promise is not made for an object that is not there."""
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    tip = alice.commit('a')
    alice.hg('push')
    for path in (server.root / '.hg' / 'headless' / 'store').rglob('*.hg'):
        path.unlink()
    bob = world.clone(server.url('http'), 'bob')
    out = bob.hg('pull', '-r', tip, code=255)
    assert 'headless: corrupt' in out
    assert bob.log('draft()') == []


def test_killed_server(world, make_server):
    """A push whose server dies leaves what it was; the next one succeeds."""
    server = make_server('embedded')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[hooks]\npretxnchangegroup.die = kill -9 $PPID\n')
    alice.hg('push', code=255)
    server.configure('')
    assert server.changesets() == 3
    assert 'no interrupted transaction available' in server.hg('recover', code=1)
    assert 'as push 1' in alice.hg('push')


@pytest.mark.parametrize('item', ['link-base', pytest.param('bundle-url', marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    'url',
    [
        'http://exa mple.com/',
        'http://example.com/\x07',
        'http://example.com/caf\u00e9',
        'http://user@example.com/',
        'http://user:geheim@example.com/',
        'http://example.com:99999/',
        'http://example.com:port/',
        'https://[::1/x',
        'http://:80/',
        'ftp://example.com/',
        '/relative',
    ],
)
def test_urls(world, make_server, item, url):
    """A setting that cannot work is told at once, by its name."""
    server = make_server('embedded', settings=f'{item} = {url}\n')
    out = server.hg('log', '-r', 'tip', code=255)
    assert out.count('\n') == 1 and f'headless: misconfigured: headless.{item} ' in out, out
    assert 'geheim' not in out


@pytest.mark.parametrize('package', ['boto3', 'psycopg2', 'sqlalchemy'])
def test_package_that_is_missing_at_the_start(world, make_server, tmp_path, package):
    """Said when a server starts, and not to whoever pushes first."""
    server = make_server(
        settings='database = postgresql+psycopg2://x@127.0.0.1:1/x\nstore = s3://bucket\n'
        'link-secret = x\n'
    )
    (tmp_path / 'sitecustomize.py').write_text(f"import sys\nsys.modules['{package}'] = None\n")
    path = os.pathsep.join([str(tmp_path), world.env.get('PYTHONPATH', '')])
    out = server.hg('serve', '--port', '0', '--daemon', env={'PYTHONPATH': path}, code=255)
    line = f'abort: headless: misconfigured: the package {package} is missing on this server\n'
    assert out.endswith(line), out
