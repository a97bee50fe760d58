"""A client that lies: what it says is checked, or of no consequence."""

from __future__ import annotations

import contextlib
import http.server
import re
import struct
import subprocess
import sys
import threading
import zlib

import pytest
from helpers.forge import NULL, Forged, compressed, interrupted, post
from helpers.lying import accept, alice, failed_push, forged, honest, kept, refuse, server
from helpers.world import HG
from mercurial import bookmarks

__all__ = ['alice', 'forged', 'honest', 'server']


def _slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize('link', ['foreign', *_slow('null', 'own', 'first')])
@pytest.mark.parametrize('public', [False, True], ids=['draft', 'public'])
@pytest.mark.parametrize('of', ['file', *_slow('manifest')])
def test_linknodes(world, alice, link, public, of):
    """Packing goes by what a revision names as its changeset."""
    server = alice.server
    first = alice.commit('first')
    alice.commit('a', 'content')
    forged = Forged(alice.root)
    other = bytes.fromhex(alice.node('public() and tip^^'))
    links = {'foreign': other, 'null': NULL, 'first': bytes.fromhex(first)}
    group = forged.files[b'a'] if of == 'file' else forged.manifests
    group[-1] = group[-1]._replace(link=links.get(link, group[-1].node))
    bob = accept(world, server, forged, public=public)
    assert (bob.root / 'a').read_text() == 'content'


def test_unlisted_file(server, forged):
    forged.change_changeset(lambda text: text.replace(b'\na\n\n', b'\n\n', 1))
    refuse(server, forged, "does not list its file 'a'")
    refuse(server, forged, "does not list its file 'a'", public=True)


def test_missing_file_revision(server, forged):
    del forged.files[b'a']
    refuse(server, forged, 'is missing')


@pytest.mark.parametrize('flag', [b't', b'q', b'xl'])
def test_unknown_flag(server, forged, flag):
    revision = forged.files[b'a'][0].node.hex().encode()
    forged.change_manifest(lambda text: text.replace(revision, revision + flag))
    refuse(server, forged, 'flag' if flag == b't' else 'malformed')


def test_revisions_of_no_changeset(server, honest, forged):
    stray = forged.rewrite(forged.files[b'a'][0], b'stray')
    forged.files[b'a'].append(stray)
    refuse(server, forged, 'belongs to no changeset of the push')
    forged = honest.copy()
    stray = forged.rewrite(
        forged.manifests[0], forged.manifests[0].delta[12:] + b'b\0' + b'0' * 40 + b'\n'
    )
    forged.manifests.append(stray)
    refuse(server, forged, 'belongs to no changeset of the push')


def test_working_directory(server, honest):
    """Its node stands for it in Mercurial, and makes it fail where a changeset is looked for."""
    wdir = b'\xff' * 20
    for group in ('changesets', 'manifests', 'files'):
        for field in ('p1', 'p2', 'base', 'link'):
            if (group, field) != ('changesets', 'link'):
                forged = honest.copy()
                entries = forged.files[b'a'] if group == 'files' else getattr(forged, group)
                entries[0] = entries[0]._replace(**{field: wdir})
                refuse(server, forged, 'headless: refused')
    heads = struct.pack('>i20s', 0, wdir)
    refuse(server, honest.copy(), 'headless: refused', parts=[(b'phase-heads', heads, {})])


def test_changeset_twice(server, forged):
    forged.changesets *= 2
    refuse(server, forged, 'is twice in the changegroup')


@pytest.mark.parametrize(
    'date', [b'nan 0', b'1e400 0', b'x', b'0 99999999999999', b'%d 0' % 10**30]
)
def test_dates(server, forged, date):
    forged.change_changeset(lambda text: text.replace(b'\n7 0\n', b'\n%s\n' % date, 1))
    refuse(server, forged, 'changeset ')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda text: text.replace(b'\n7 0\n', b'\n7 0 broken\n', 1), 'is malformed'),
        (lambda text: b'no changeset', 'is malformed'),
        (lambda text: b'', 'is malformed'),
        (lambda text: text.replace(text[:40], b'z' * 40), 'is malformed'),
        (
            lambda text: text.replace(b'\n7 0\n', b'\n7 0 branch:%s\n' % (b'b' * 8192), 1),
            'is too long',
        ),
    ],
    ids=['extras', 'text', 'empty', 'manifest', 'branch'],
)
def test_malformed_changesets(server, forged, change, words):
    forged.change_changeset(change)
    refuse(server, forged, words)


@pytest.mark.parametrize(
    'change',
    [
        lambda text: text[:-1],
        lambda text: text + text,
        lambda text: b'a\n' + text,
        lambda text: text.replace(b'\0', b' '),
        lambda text: text + b'z\0' + b'z' * 40 + b'\n',
        lambda text: text + b'z\0' + b'0' * 40 + b'\n',
    ],
    ids=['newline', 'order', 'line', 'nul', 'hex', 'null'],
)
def test_malformed_manifests(server, forged, change):
    forged.change_manifest(change)
    refuse(server, forged, 'headless: refused')


@pytest.mark.parametrize(
    'text',
    [
        b'\1\ncopy: a',
        b'\1\nnothing\n\1\nx',
        b'\1\ncopy: public0\ncopyrev: zz\n\1\nx',
        b'\1\ncopy: public0\ncopyrev: abab\n\1\nx',
        b'\1\n' + b'a: b\n' * 300_000 + b'\1\nx',
    ],
    ids=['end', 'line', 'hex', 'length', 'size'],
)
def test_malformed_metadata(server, forged, text):
    """Whoever pulls the file, or looks where it was copied from, would stop at it."""
    old = forged.files[b'a'][0]
    new = forged.files[b'a'][0] = forged.rewrite(old, text)
    nodes = old.node.hex().encode(), new.node.hex().encode()
    forged.change_manifest(lambda text: text.replace(*nodes))
    refuse(server, forged, 'a revision is malformed')
    refuse(server, forged, 'a revision is malformed', public=True)


def test_secret(server, forged):
    for phase in (2, 32, 96):
        data = struct.pack('>i20s', phase, forged.changesets[-1].node)
        refuse(server, forged, 'may not be pushed', parts=[(b'phase-heads', data, {})])


@pytest.mark.parametrize(
    'name',
    [
        b'tab\there',
        b'caf\xe9',
        pytest.param(b'bell\x07', marks=pytest.mark.slow),
        pytest.param(b'c1\xc2\x85', marks=pytest.mark.slow),
    ],
)
def test_names_of_bookmarks(world, alice, name):
    server = alice.server
    node = bytes.fromhex(alice.commit('a'))
    forged = Forged(alice.root)
    data = bookmarks.binaryencode(None, [(name, node)])
    refuse(server, forged, 'bookmark', parts=[(b'bookmarks', data, {})])
    # Nor does one that is there already stand in anybody's way.
    alice.hg_fast('push', '-q')
    server.sql(
        'INSERT INTO bookmarks (repository_id, name, node, updated) '
        f"VALUES (1, X'{name.hex()}', X'{node.hex()}', 0)"
    )
    alice.commit('b')
    alice.hg_fast('push', '-q')
    bob = world.clone(server.start(), 'bob')
    bob.hg_fast('pull', '-q', '-r', node.hex())
    bob.hg_fast('identify', '--id', server.start())
    bob.hg_fast('incoming', '-r', alice.node(), '--bookmarks', code=1)
    assert 'Traceback' not in server.errors()


class _Listener(http.server.ThreadingHTTPServer):
    seen: list[str]


class _Seen(http.server.BaseHTTPRequestHandler):
    server: _Listener

    def do_GET(self):
        self.server.seen.append(self.path)
        self.send_error(404)

    def log_message(self, *args):
        pass


@pytest.fixture
def elsewhere():
    listener = _Listener(('127.0.0.1', 0), _Seen)
    listener.seen = []
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield listener
    listener.shutdown()
    listener.server_close()


def test_parts_in_parts(server, elsewhere):
    """None of them reaches a handler of stock's, which would open the URL."""
    url = f'http://127.0.0.1:{elsewhere.server_port}/bundle'.encode()
    parameters = {b'url': url, b'size': b'100', b'digests': b''}
    for kind, inner in (
        (b'remote-changegroup', b''),
        (b'REMOTE-CHANGEGROUP', b''),
        (b'output', b'x' * 100),
        (b'replycaps', b'HG20'),
        (b'pushvars', b''),
        (b'changegroup', b'\0' * 12),
        (b'error:abort', b''),
        (b'reply:changegroup', b''),
    ):
        body = interrupted(
            kind, inner, parameters if b'url' in kind or b'remote' in kind.lower() else {}
        )
        refuse(server, body, 'inside another')
    assert elsewhere.seen == []


@pytest.mark.parametrize('order', ['before', 'after'])
def test_part_of_another_extension(world, make_server, order):
    """Its handler does not get a part of a push, in whatever order extensions are loaded."""
    server = make_server('embedded')
    called = world.folder / 'called'
    extension = world.folder / 'late.py'
    extension.write_text(
        'from mercurial import bundle2\n'
        'def extsetup(ui):\n'
        '    def handler(op, part):\n'
        f'        open({str(called)!r}, "a").write(repr(part.type))\n'
        '    handler.params = frozenset()\n'
        "    bundle2.parthandlermapping[b'x-late'] = handler\n"
        "    bundle2.parthandlermapping[b'output'] = handler\n"
    )
    hgrc = server.root / '.hg' / 'hgrc'
    first, rest = hgrc.read_text().split('\n', 1)
    late = f'late = {extension}\n'
    if order == 'before':
        hgrc.write_text(f'{first}\n{late}{rest}')
    else:
        hgrc.write_text(f'{first}\n{rest}[extensions]\n{late}')
    alice = world.clone(server.start(), 'alice')
    alice.commit('a')
    forged = Forged(alice.root)
    refuse(server, forged, 'x-late', parts=[(b'x-late', b'', {})])
    for kind in (b'x-late', b'X-LATE', b'output'):
        refuse(server, interrupted(kind, b'', {}), 'inside another')
    accept(world, server, forged, parts=[(b'output', b'', {})])
    assert not called.exists()


@pytest.mark.parametrize('compression', [b'ZS', b'XX', *_slow(b'GZ', b'BZ', b'UN')])
def test_compressed(server, forged, compression):
    """17 KB of zstd that stock reads whole: no client compresses a push."""
    forged.changesets = []
    server.start()
    status = f'/proc/{server.pid}/status'
    body = forged.bundle(parts=[(b'replycaps', iter([b'\0' * (1 << 20)] * 400), {})])
    body = compressed(body, compression)
    assert len(body) < 1 << 20 or compression in (b'UN', b'XX')
    refuse(server, body, 'Compression' if compression == b'XX' else 'may not be compressed')
    with open(status) as file:
        peak = next(line for line in file if line.startswith('VmHWM'))
    assert int(peak.split()[1]) < 300 * 1024, peak


def _bookmarks(*pairs):
    return b''.join(struct.pack('>20sH', node, len(name)) + name for name, node in pairs)


def _markers(count):
    """Markers of version 1 with much metadata: two bytes are a pair of strings."""
    head = struct.pack('>IdhHBBB', 19 + 20 + 20 + 510, 0, 0, 0, 1, 3, 255) + NULL
    return b'\1' + b''.join(
        head + struct.pack('>I', number) + b'\1' * 16 + bytes(510) for number in range(count)
    )


@pytest.mark.parametrize(
    'parts',
    [
        [(b'phase-heads', struct.pack('>i20s', 1, b'\1' * 20) * 600_000, {})] * 8,
        *_slow(
            [(b'bookmarks', _bookmarks(*((b'%d' % n, NULL) for n in range(600_000))), {})],
            [(b'check:heads', b'\1' * 20 * 700_000, {})] * 10,
            [(b'obsmarkers', _markers(25_000), {})] * 4,
            [(b'output', b'', {})] * 200_000,
            [(b'pushvars', b'', {b'%d' % n: b'x' * 200 for n in range(200)})] * 3000,
        ),
    ],
    ids=['phases', 'bookmarks', 'heads', 'markers', 'parts', 'variables'],
)
def test_memory_of_parts(make_server, parts):
    """It is limited for the whole push, whatever the bytes become."""
    server = make_server('embedded', '[experimental]\nevolution = all\n')
    url = server.start()
    with open(f'/proc/{server.pid}/status') as file:
        before = int(next(line for line in file if line.startswith('VmHWM')).split()[1])
    forged = Forged(server.root)
    assert 'of the push take more than 128 MB' in post(url, forged.bundle(parts=parts))
    with open(f'/proc/{server.pid}/status') as file:
        peak = int(next(line for line in file if line.startswith('VmHWM')).split()[1])
    assert peak - before < 256 * 1024


@pytest.mark.parametrize(
    ('sent', 'words'),
    [
        (f'unbundle\nheads 0\n{300 << 20}\nHG20', 'a chunk may not have 314572800 bytes'),
        (f'lookup\nkey {300 << 20}\n', 'an argument or a chunk may not have'),
        ('', ''),
    ],
    ids=['chunk', 'argument', 'line'],
)
def test_memory_over_ssh(world, server, sent, words):
    """What is read at once is limited."""
    process = subprocess.Popen(
        [HG, '-R', server.root, 'serve', '--stdio'],
        env=world.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with contextlib.suppress(BrokenPipeError):  # it may be refused at once
        process.stdin.write(sent.encode())
        for _ in range(300):
            process.stdin.write(bytes(1 << 20))
        assert _peak(process) < 250
    assert words in process.communicate()[0].decode('latin-1')


def test_bookmark_twice(server, forged):
    node = bytes.fromhex(forged.head)
    data = _bookmarks((b'same', node), (b'other', node), (b'same', node))
    refuse(server, forged, "bookmark 'same' is twice in the push", parts=[(b'bookmarks', data, {})])
    key = {b'namespace': b'bookmarks', b'key': b'same', b'old': b'', b'new': forged.head.encode()}
    one: tuple[bytes, bytes, dict[bytes, bytes]] = (b'bookmarks', _bookmarks((b'same', node)), {})
    for other in (one, (b'pushkey', b'', key)):
        refuse(server, forged, "bookmark 'same' is twice in the push", parts=[one, other])


def test_names_for_which_hooks_run(server, forged):
    """A hook takes milliseconds for each name of some bytes."""
    head = bytes.fromhex(forged.head)
    for node in (head, NULL):
        data = _bookmarks(*((b'b%d' % number, node) for number in range(1001)))
        refuse(server, forged, 'move at most 1000 bookmarks', parts=[(b'bookmarks', data, {})])
    key = {b'namespace': b'phases', b'key': forged.head.encode(), b'old': b'1', b'new': b'0'}
    refuse(server, forged, 'at most 1000 keys', parts=[(b'pushkey', b'', key)] * 1001)


@pytest.mark.parametrize(
    'body',
    [b'', b'x', b'\0', b'\0\0\0', b'this is no bundle', b'HG20', b'HG10XX', b'HG20\0\0\0\0'],
)
def test_what_is_no_bundle(server, body):
    answer = post(server.start(), body)
    assert answer.count('headless: ') == 1, answer


def test_too_large_by_its_own_words(make_server, world):
    """Refused before it is read, and not kept meanwhile."""
    server = make_server('embedded', settings='max-push-size = 1 MB\n')
    answer = post(server.start(), b'HG20' + b'\0' * (120 << 20))
    assert 'headless: refused: the push has more than headless.max-push-size' in answer


def test_keys_over_http(alice):
    server = alice.server
    node = alice.commit('a')
    alice.hg_fast('push', '-q')
    answer = post(
        server.start(), b'', 'pushkey', namespace='bookmarks', key='tip', old='', new=node
    )
    assert 'headless: refused' in answer or answer.startswith('0'), answer
    answer = post(
        server.start(), b'', 'pushkey', namespace='phases', key='x' * 40, old='1', new='0'
    )
    assert 'headless: refused' in answer, answer


@pytest.mark.parametrize('public', [False, True], ids=['draft', 'public'])
def test_honest_but_unusual(world, alice, public):
    """What stock's verify accepts is accepted."""
    server = alice.server
    base = alice.node()
    alice.commit('f', 'one')
    alice.commit('f', 'two')
    alice.hg_fast('rm', 'f')
    alice.hg_fast('commit', '-qm', 'gone')
    alice.commit('f', 'one')  # the same revision again
    first = alice.node()
    alice.hg_fast('update', '-q', base)
    alice.commit('f', 'one')  # and in another stack
    alice.hg_fast('cp', 'f', 'copy')
    alice.hg_fast('commit', '-qm', 'copied')
    alice.hg_fast('merge', '-q', '-t', ':local', first)
    alice.hg_fast('commit', '-qm', 'merged')
    alice.hg_fast('update', '-q', base)
    alice.hg_fast('branch', '-q', 'other')
    alice.hg_fast('commit', '-qm', 'empty')
    alice.hg_fast('rm', '-A', code=1)
    if public:
        alice.hg_fast('phase', '--public', '-r', 'all()')
    alice.hg_fast('push', '-q', '-f', '--new-branch')
    server.hg_fast('verify', '-q')
    for head in alice.log('head() and not public() or head()', '{node}\n'):
        bob = world.clone(server.start(), f'bob-{head}', '-r', head)
        bob.verified()
        assert bob.facts(f'::{head}') == alice.facts(f'::{head}')
    if not public:
        server.hg_fast('admin::headless-verify', '--full')


def test_old_conversion(world, alice):
    """A changeset that brings back a file's old revision, and does not list it."""
    alice.commit('f', 'one')
    alice.hg_fast('rm', 'f')
    alice.hg_fast('commit', '-qm', 'gone')
    alice.commit('f', 'one')
    forged = Forged(alice.root)
    forged.change_changeset(lambda text: text.replace(b'\nf\n\n', b'\n\n', 1))
    bob = accept(world, alice.server, forged)
    assert (bob.root / 'f').read_text() == 'one'


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


@pytest.mark.slow
def test_file_names_that_lie(world, make_server):
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    for name in ('../x', '.hg/hgrc', 'a/../../x', '.HG/hgrc', 'sub/.hg/hgrc'):
        subprocess.run([sys.executable, '-c', _EVIL, alice.root, name], env=world.env, check=True)
        assert alice.log('draft()')
        line = failed_push(server, alice, 'refused')
        assert f"'{name}'" in line
        alice.hg('--config', 'extensions.strip=', 'strip', '-q', '--no-backup', 'draft()')


def test_too_large(world, make_server, transport):
    server = make_server('embedded', settings='max-push-size = 1 MB\n')
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('a', b'0' * 2_000_000)  # compresses well
    assert 'max-push-size' in failed_push(server, alice, 'refused')


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


def made(world, kind) -> bytes:
    path = world.folder / 'made.hg'
    subprocess.run([sys.executable, '-c', _MAKE, kind, path], env=world.env, check=True)
    return path.read_bytes()


@pytest.mark.parametrize('kind', ['unknown part', 'unknown version'])
def test_unknown(world, make_server, kind):
    server = make_server('embedded')
    answer = post(server.start(), made(world, kind))
    assert 'headless: refused' in answer, answer
    assert ('nosuchpart' in answer.lower()) == (kind == 'unknown part')


@pytest.mark.parametrize('kind', ['bomb', *_slow('small chunks')])
def test_bomb(world, make_server, kind):
    """A chunk of 600 MB in a tiny stream does not make the server large."""
    server = make_server('embedded')
    post(server.start(), made(world, 'unknown part'))  # what is imported is imported
    pid = server.pid

    def high_water() -> int:
        with open(f'/proc/{pid}/status') as status:
            return int(re.search(r'VmHWM:\s*(\d+)', status.read()).group(1)) // 1024

    before = high_water()
    body = made(world, kind)
    assert len(body) < 200_000
    answer = post(server.start(), body)
    assert 'headless: refused' in answer, answer
    assert high_water() - before < 200


def test_bomb_of_zlib(world, make_server):
    """A bare changegroup, which may be compressed: 300 KB of one that are 300 MB."""
    server = make_server('embedded')
    post(server.start(), made(world, 'unknown part'))
    before = _peak(server)
    pack = zlib.compressobj(9)
    body = b'HG10GZ' + pack.compress(struct.pack('>l', 300 << 20))
    body += b''.join(pack.compress(bytes(1 << 20)) for _ in range(300)) + pack.flush()
    answer = post(server.start(), body)
    assert 'headless: refused: the push is more than 50 times as large' in answer, answer
    assert _peak(server) - before < 300


def _peak(server) -> int:
    with open(f'/proc/{server.pid}/status') as status:
        return int(next(line for line in status if line.startswith('VmHWM')).split()[1]) >> 10


def bundle_of(clone) -> bytes:
    clone.hg('bundle', '-q', '-t', 'none-v2', '--base', 'public()', '-r', '.', 'b.hg')
    return (clone.root / 'b.hg').read_bytes()


def test_truncated_and_changed(world, make_server):
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    tip = alice.commit('a', 'some content that stands in the bundle\n')
    body = bundle_of(alice)
    for cut in (10, 60, len(body) // 2, len(body) - 30):
        answer = post(server.start(), body[:cut])
        assert re.search('headless: (temporary|refused)', answer), (cut, answer)
    changed = body.replace(b'some content that', b'evil content that')
    assert changed != body
    answer = post(server.start(), changed)
    assert 'headless: refused: a revision does not fit its hash' in answer
    assert server.changesets() == 3
    assert 'unknown revision' in alice.hg_fast('identify', '-r', tip, server.start(), code=255)
    assert 'as push 1' in post(server.start(), body)


@pytest.mark.parametrize('kind', [b'check:heads', b'check:updated-heads'])
def test_heads_that_nobody_has(server, honest, kind):
    """Not even another server: the client has seen another history."""
    before = kept(server)
    body = honest.copy().bundle(public=True, parts=[(kind, b'\x11' * 20, {})])
    answer = post(server.start(), body)
    assert 'remote repository changed while pushing' in answer
    assert kept(server) == before
    for data in (b'\x11' * 19, b'\xff' * 20):
        refuse(server, honest.copy(), 'is malformed', public=True, parts=[(kind, data, {})])
