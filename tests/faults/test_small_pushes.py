"""A few kilobytes from anybody hurt nobody else: what a push can do to pages and searches."""

from __future__ import annotations

import os
import socket
import struct
from urllib.parse import quote

import pytest
from helpers.forge import NULL, Forged, full, post
from helpers.web import fetch, fetch_json, fetch_page
from mercurial.utils import storageutil

from hgext_headless.hgcompat import Delta


@pytest.fixture
def server(make_server):
    made = make_server('embedded')
    made.start()
    return made


def push(server, *changesets: tuple[bytes, bytes], stacked: bool = True) -> list[str]:
    """Push changesets without files: pairs of author and description. Their nodes."""
    parent = bytes.fromhex(server.node('tip'))
    manifest = server.log('tip', '{manifest % "{node}"}')[0].encode()
    forged = Forged(server.root)  # it has no draft
    assert not forged.changesets
    first = b''
    for author, description in changesets:
        text = b'%s\n%s\n0 0\n\n%s' % (manifest, author, description)
        node = storageutil.hashrevisionsha1(text, parent, NULL)
        delta, base = full(text), NULL
        if forged.changesets:
            delta, base = _delta(first, text), forged.changesets[0].node
        first = first or text
        forged.changesets.append(Delta(node, parent, NULL, base, node, 0, delta))
        parent = node if stacked else parent
    answer = post(server.start(), forged.bundle())
    assert 'headless: stored' in answer, answer
    return [entry.node.hex() for entry in forged.changesets]


def _delta(old: bytes, new: bytes) -> bytes:
    """The difference of texts that end alike."""
    same, most = 0, len(old)
    while same < most:
        half = (same + most + 1) // 2
        same, most = (half, most) if new.endswith(old[-half:]) else (same, half - 1)
    changed = new[: len(new) - same]
    return struct.pack('>lll', 0, len(old) - same, len(changed)) + changed


def test_nothing_but_a_branch(server):
    """Neither author, nor description, nor files: it is not a draft that is gone."""
    url = server.start()
    (node,) = push(server, (b'', b''))
    assert f'rev/{node[:12]}' in fetch_page(url + 'pushloghtml')
    assert f'rev/{node[:12]}' in fetch_page(url + 'push/1')
    assert node in fetch(url + 'pushlog')[1].decode()
    (pushed,) = fetch_json(url + 'json-pushes?full=1').values()
    assert [changeset['node'] for changeset in pushed['changesets']] == [node]
    assert fetch(url + 'raw-push/1')[0] == 200


def _seconds(server) -> float:
    """The processor time of a server."""
    with open(f'/proc/{server.pid}/stat') as file:
        fields = file.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def test_searches(server):
    """Some kilobytes to search for take no longer than others."""
    url = server.start()
    push(server, (b'somebody', b'something'))
    before = _seconds(server)
    for text in ('1s+' * 1000, '9' * 400 + 's', '9' * 5000 + '+weeks+ago', 'z' * 60_000):
        for page in ('pushloghtml', 'json-pushes', 'pushlog'):
            assert fetch(f'{url}{page}?search={text}')[0] == 200
    for text in ('9' * 400 + 's', '9' * 5000 + ' d ago'.replace(' ', '+')):
        assert fetch(f'{url}json-pushes?startdate={text}')[0] == 400
        assert fetch(f'{url}pushloghtml?startdate={text}')[0] == 200  # it is said beside the field
    assert _seconds(server) - before < 3


def test_numbers_over_the_wire(server):
    for text in ('9' * 5000, '1_0', '\u0663'.encode().hex(), ''):
        answer = post(server.start(), b'', 'pushlog', firstpush=text)
        assert answer.startswith('0\nnot a push id: '), answer


def test_batch(server):
    """The roots of recent pushes are read once for it, however often it asks for them."""
    url = server.start()
    push(server, *((b'somebody', b'%d' % n) for n in range(300)), stacked=False)
    keys = post(url, b'', 'listkeys', namespace='phases')
    assert keys.count('\t') == 300
    before = _seconds(server)
    commands = ';'.join(['listkeys namespace=phases'] * 300)
    assert post(url, b'', 'batch', cmds=quote(commands)).count('\t') == 300 * 300
    assert _seconds(server) - before < 0.8
    # Each name takes twenty times as long as with stock.
    public = server.log('tip', '{node}')[0]
    commands = ';'.join(f'lookup key={n:040x}' for n in range(1, 1010)) + f';lookup key={public}'
    answers = post(url, b'', 'batch', cmds=quote(commands)).split(';')
    assert answers[0].startswith('0 unknown revision')
    assert answers[-2] == '0 headless:c refused:c one batch can name 1000 drafts\n'
    assert answers[-1] == f'1 {public}\n'


@pytest.mark.parametrize('length', ['100000', '9' * 5000])
def test_arguments_that_do_not_come(server, length):
    """Whoever needs no login holds no thread: no server has said that it takes arguments so."""
    address, port = server.start().split('/')[2].split(':')
    request = f'GET /?cmd=heads HTTP/1.0\r\nX-HgArgs-Post: {length}\r\n'
    request += 'Content-Length: 100000\r\n\r\n'
    with socket.create_connection((address, int(port)), timeout=10) as client:
        client.sendall(request.encode())
        assert b' 200 ' in client.recv(100)


def test_comparison(world, server):
    """Mercurial's takes time quadratic in the lines."""
    alice = world.clone(server.start(), 'alice')
    lines = [f'{number}\n' for number in range(20_000)]
    alice.commit('f', ''.join(lines))
    lines[::2] = (f'x{line}' for line in lines[::2])
    node = alice.commit('f', ''.join(lines))
    alice.hg_fast('push', '-q')
    before = _seconds(server)
    status, body, _headers = fetch(f'{server.start()}comparison/{node}/f')
    assert status == 403 and b'too many lines' in body
    assert fetch(f'{server.start()}comparison/tip/public2')[0] == 200
    assert fetch(f'{server.start()}comparison/tip/nonsense')[0] == 404
    assert _seconds(server) - before < 3


def test_long_texts(server):
    """Of what lists show, the beginning is read: in a push, a text of another is a few bytes."""
    url = server.start()
    author, text = b'somebody ' * 1000, b'words of it, ' * 4000 + b'and the end\n' + b'!' * 20_000
    nodes = push(server, *((b'%d %s' % (n, author), b'%d %s' % (n, text)) for n in range(30)))
    for page in ('pushloghtml', 'push/1', 'pushlog', 'pushloghtml?style=gitweb'):
        body = fetch(url + page)[1]
        assert body.count(b'somebody') < 30 * 60
        assert len(body) < 800_000, page
    assert fetch_json(url + 'json-pushes?search=29+somebody')
    assert fetch_json(url + 'json-pushes?search=somebody&author=29')
    (pushed,) = fetch_json(url + 'json-pushes?full=1').values()
    assert [found['node'] for found in pushed['changesets']] == nodes
    assert all(found['desc'].encode().endswith(text) for found in pushed['changesets'])


def test_large_pushes(server):
    """A list has the end of each; what is more is on its page."""
    url = server.start()
    nodes = push(server, *((b'somebody', b'%d' % n) for n in range(230)))
    page = fetch_page(url + 'pushloghtml')
    assert '210 more changesets' in page
    assert '30 earlier ones are on <a href="/push/1">the page of the push' in page
    assert page.count('class="pushlognode"') == 200
    page = fetch_page(url + 'push/1')
    assert page.count('class="pushlognode"') == 230
    assert 'No files are changed' in page and '<caption>230 changesets' in page
    assert '0 files' not in page
    assert fetch(url + 'pushlog')[1].count(b'<entry>') == 200
    (pushed,) = fetch_json(url + 'json-pushes').values()
    assert pushed['changesets'] == nodes


@pytest.mark.parametrize('pages', [('json-pushes?full=1', 'json-pushes'), ('pushloghtml',)])
def test_memory_of_readers(server, pages):
    """The texts of a list are in memory a part at a time: 100 KB of a push are 48 MB of them."""
    url = server.start()
    push(server, *((b'somebody', b'%d %s' % (n, b'x' * 120_000)) for n in range(400)))
    fetch(url + 'pushlog?search=nothing')  # what is imported is imported
    before = _peak(server)
    for page in pages:
        assert fetch(url + page)[0] == 200
    assert _peak(server) - before < 60


def _peak(server) -> int:
    """The most memory that a server has taken, in MB."""
    with open(f'/proc/{server.pid}/status') as file:
        return int(next(line for line in file if line.startswith('VmHWM')).split()[1]) >> 10


def test_rows_of_a_page(server):
    """hgweb takes any number of rows, and shows that it does in its links."""
    url = server.start()
    for number in ('10000000', '+0_0_9_9_9_9_9', ' 99999 ', '9' * 4200):
        body = fetch_page(f'{url}shortlog?revcount={quote(number)}')
        assert 'revcount=10000"' in body, number
        assert fetch(f'{url}comparison/tip/public2?context={quote(number)}')[0] == 200
    assert fetch(f'{url}comparison/tip/public2?context=full')[0] == 200
