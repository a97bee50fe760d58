"""How a draft travels: by link, or inline."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers.web import fetch

from hgext_headless.wire import links as bundle_links


def pushed(world, server, transport='http'):
    alice = world.clone(server.url(transport), 'alice')
    return alice, alice.commit('a'), alice.hg_fast('push')


def links(server) -> list[str]:
    log = (server.root / '.hg' / 'access.log').read_text()
    return re.findall(r'"GET /(?:group/server/)?(headless-bundle/\S+)', log)


def pull(world, server, tip, name, transport='http', *args):
    other = world.clone(server.url(transport), name)
    other.hg_fast('pull', '-q', '-r', tip, *args)
    assert other.log('draft()') == [f'{tip} draft']
    other.verified()
    return other


def test_link(world, make_server, backend):
    server = make_server(backend)
    _alice, tip, _out = pushed(world, server)
    pull(world, server, tip, 'bob')
    (link,) = links(server)
    status, body, headers = fetch(server.start() + link)
    if backend == 'services':
        assert status == 302
        # A link used in its last second is not good for another hour.
        assert 'X-Amz-Expires=60&' in headers['Location']
        status, body, _headers = fetch(headers['Location'])
    assert status == 200
    digest = re.search(r'[0-9a-f]{64}', link).group()
    assert hashlib.sha256(body).hexdigest() == digest
    assert body.startswith(b'HG10GZ')


def test_forged_links(world, make_server):
    server = make_server('embedded', settings='link-ttl = 60\n')
    _alice, tip, _out = pushed(world, server)
    pull(world, server, tip, 'bob')
    base = server.start()
    (link,) = links(server)
    digest = re.search(r'[0-9a-f]{64}', link).group()
    expires = re.search(r'expires=(\d+)', link).group(1)
    forged = {
        'signature': re.sub(r'signature=.{4}', 'signature=AAAA', link),
        'none': link.split('&signature')[0],
        'expires': link.replace(expires, str(int(expires) + 1)),
        'digest': link.replace(digest, digest[::-1]),
        'dots': link.replace(digest, '../../../etc/passwd'),
        'encoded dots': link.replace(digest, '%2e%2e/' + digest),
        'bare': 'headless-bundle/',
    }
    for what, path in forged.items():
        status, body, _headers = fetch(base + path)
        assert status in (403, 404), what
        assert b'Traceback' not in body
    assert fetch(base + link)[0] == 200
    # Whoever may write to the store's folder has put something else there.
    secret = server.root / 'secret'
    secret.write_text('password')
    [path] = (server.root / '.hg' / 'headless' / 'store').rglob(f'{digest}.hg')
    path.unlink()
    path.symlink_to(secret)
    status, body, _headers = fetch(base + link)
    assert status == 503
    assert b'password' not in body


def test_expired_link_and_missing_login(world, make_server):
    server = make_server('embedded', settings='link-secret = s\n')
    _alice, tip, _out = pushed(world, server)
    pull(world, server, tip, 'bob')
    (link,) = links(server)
    digest = re.search(r'[0-9a-f]{64}', link).group()

    def signed(expires: int) -> str:
        """As the server makes them; to wait for one that has expired takes long."""
        signature = bundle_links._signature(b's', 'try', digest, expires)
        return f'headless-bundle/{digest}?expires={expires}&signature={signature}'

    now = int(time.time())
    assert fetch(server.start() + signed(now + 600))[0] == 200
    status, body, _headers = fetch(server.start() + signed(now - 1))
    assert status == 403
    assert b'expired' in body
    # Where hgweb asks for a login, the link does not.
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[web]\nallow_read = somebody\n')
    base = server.restart()
    assert fetch(base)[0] == 401
    assert fetch(base + link)[0] == 200
    assert fetch(base + signed(now - 1))[0] == 403


@pytest.mark.slow
def test_link_of_another_repository(world, make_server):
    one = make_server('embedded', settings='link-secret = same\n')
    two = make_server('embedded', name='two', settings='link-secret = same\nrepository = other\n')
    _alice, tip, _out = pushed(world, one)
    pull(world, one, tip, 'bob')
    assert fetch(two.start() + links(one)[0])[0] in (403, 404)


def test_inline_always(world, make_server):
    server = make_server('embedded', settings='inline = always\n')
    _alice, tip, _out = pushed(world, server)
    pull(world, server, tip, 'bob')
    assert links(server) == []


def test_inline_never(world, make_server):
    server = make_server('embedded', settings='inline = never\n')
    _alice, tip, _out = pushed(world, server)
    pull(world, server, tip, 'bob')
    carol = world.clone(server.url('http'), 'carol')
    # Stock writes the reply to a file, and looks for no error in it.
    assert tip[:12] not in carol.hg_fast('incoming', '-r', tip, code=255)
    assert carol.log('draft()') == []


def test_client_that_follows_no_link(world, make_server):
    """And a changeset in the middle of a stack, which is no bundle's head."""
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    middle = alice.commit('a')
    alice.commit('b')
    alice.hg_fast('push')
    pull(world, server, middle, 'bob')
    assert links(server) == []


class _CDN(ThreadingHTTPServer):
    asked: list[str]


class _Counting(SimpleHTTPRequestHandler):
    server: _CDN

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()


@pytest.mark.slow
@pytest.mark.parametrize('transport', ['http', 'ssh'])
def test_bundle_url(world, make_server, transport):
    server = make_server('embedded')
    _alice, tip, _out = pushed(world, server)
    store = server.root / '.hg' / 'headless' / 'store'
    (path,) = store.rglob('*.hg')
    handler = partial(_Counting, directory=str(store))
    with _CDN(('127.0.0.1', 0), handler) as cdn:
        cdn.asked = []
        threading.Thread(target=cdn.serve_forever, daemon=True).start()
        server.configure(f'bundle-url = http://127.0.0.1:{cdn.server_port}\n')
        server.stop()
        other = world.clone(server.url(transport), 'bob')
        other.hg_fast('pull', '-r', tip)
        assert cdn.asked == [f'/{path.relative_to(store)}']
        assert other.log('draft()') == [f'{tip} draft']
        cdn.shutdown()


def test_link_over_ssh(world, make_server):
    server = make_server('embedded')
    base = server.start().rstrip('/')
    server.configure(f'link-base = {base}\n')
    _alice, tip, _out = pushed(world, server, 'ssh')
    pull(world, server, tip, 'bob', 'ssh')
    assert len(links(server)) == 1


@pytest.mark.slow
def test_base_that_is_configured(world, make_server):
    """All links begin with it, whatever name reaches the server: one behind a proxy."""
    server = make_server(settings='inline = never\n[web]\nbaseurl = http://hg.example.com:81/\n')
    url = server.start()
    path = url.split('/', 3)[3]
    alice = world.clone(url, 'alice')
    tip = alice.commit('a')
    assert f'see http://hg.example.com:81/{path}push/1' in alice.hg_fast('push', '-r', '.')
    for page in ('pushlog', 'atom-log'):
        body = fetch(url + page, Host='localhost')[1]
        assert b'"http://hg.example.com:81/' in body and b'localhost' not in body
    # The link goes there too: by a proxy that is not there, and that loopback needs not.
    bob = world.clone(url, 'bob')
    out = bob.hg_fast('pull', '-r', tip, '--config', 'http_proxy.host=127.0.0.1:1', code=255)
    assert 'Connection refused' in out


@pytest.mark.parametrize(
    ('backend', 'by'),
    [
        ('services', 'http'),
        ('embedded', 'ssh'),
        pytest.param('services', 'ssh', marks=pytest.mark.slow),
        pytest.param('embedded', 'http', marks=pytest.mark.slow),
    ],
)
def test_corrupt_object(world, make_server, backend, by):
    """Seen before a client is sent to it: one line, and no traceback at the client."""
    server = make_server(backend, settings='link-base = http://127.0.0.1:9/\n')
    alice = world.clone(server.url('http'), 'alice')
    node = alice.commit('a')
    alice.hg_fast('push', '-q')
    corrupt(world, server)
    server.restart()
    out = world.clone(str(server.root), 'bob').hg_fast('pull', '-r', node, server.url(by), code=255)
    assert out.count('headless: corrupt: object ') == 1, out
    code, body, _headers = fetch(f'{server.start()}rev/{node}')
    assert code == 503 and b'headless: corrupt: object ' in body
    assert fetch(server.start())[0] == 200


def corrupt(world, server):
    """Change a byte of the only object."""
    settings = (server.root / '.hg' / 'hgrc').read_text()
    if 'store = ' not in settings:
        (path,) = (server.root / '.hg' / 'headless' / 'store').rglob('*.hg')
        path.write_bytes(path.read_bytes()[:-1] + b'x')
        return
    import boto3

    client = boto3.client(
        's3',
        endpoint_url=server.configured('s3-endpoint-url'),
        region_name='us-east-1',
        aws_access_key_id=world.env['AWS_ACCESS_KEY_ID'],
        aws_secret_access_key=world.env['AWS_SECRET_ACCESS_KEY'],
    )
    bucket, prefix = re.search('^store = s3://([^/]*)/(.*)', settings, re.M).groups()
    (entry,) = client.list_objects_v2(Bucket=bucket, Prefix=prefix + '/')['Contents']
    data = client.get_object(Bucket=bucket, Key=entry['Key'])['Body'].read()
    client.put_object(Bucket=bucket, Key=entry['Key'], Body=data[:-1] + b'x')


@pytest.mark.slow
def test_narrow_clone(world, make_server):
    """It is told that it can't have drafts: their bundles know no scope."""
    server = make_server('embedded')
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[extensions]\nnarrow =\n')
    alice = world.clone(server.start(), 'alice')
    node = alice.commit('a')
    alice.hg_fast('push', '-q')
    narrow = ('--config', 'extensions.narrow=')
    bob = world.folder / 'bob'
    world.hg('clone', '-q', '--narrow', '--include', 'b', server.start(), bob, *narrow)
    out = world.hg('pull', '-R', bob, '-r', node, *narrow, code=255)
    assert 'headless: refused: a narrow clone cannot pull drafts' in out
