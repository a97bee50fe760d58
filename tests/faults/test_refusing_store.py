"""A store that refuses: what it said is passed on, and no draft is locked out for ever."""

from __future__ import annotations

import hashlib
import itertools
import json
import re

import pytest
from botocore.parsers import ResponseParserError
from helpers import services as running
from helpers.s3proxy import Answer, Proxy
from helpers.world import free_url

from hgext_headless import store as stores
from hgext_headless.errors import HeadlessError, Misconfigured, Temporary
from hgext_headless.store import Undeleted, s3

CONTENT = b'HG10UN data'
KEY = stores.key('try', hashlib.sha256(CONTENT).hexdigest())
_prefixes = itertools.count()


@pytest.fixture
def proxy(services):
    made = Proxy(services.endpoint)
    yield made
    made.close()


@pytest.fixture
def store(proxy, monkeypatch, tmp_path):
    """It has one object."""
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', running.ACCESS_KEY)
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', running.SECRET_KEY)
    url = f's3://{running.BUCKET}/refusing{next(_prefixes)}'
    opened = s3.open_s3(url, proxy.endpoint, 'us-east-1')
    (tmp_path / 'object').write_bytes(CONTENT)
    opened.put(KEY, str(tmp_path / 'object'))
    return opened


def is_deletion_of_many(method, path, headers):
    return method == 'POST' and 'delete' in path


@pytest.mark.parametrize(
    'answer',
    [
        Answer(400, 'MissingContentMD5', 'Missing required header: Content-Md5.'),
        Answer(501, 'NotImplemented', 'not implemented'),
        Answer(403, 'AccessDenied', 'Access Denied.'),
    ],
)
def test_store_without_delete_objects(store, proxy, answer):
    """MinIO and GCS: objects are deleted one by one."""
    proxy.rule = lambda *request: answer if is_deletion_of_many(*request) else None
    assert store.delete([KEY, KEY.replace('try/', 'other/')]) == []
    assert store.size(KEY) is None


def test_one_key_that_may_not_be_deleted(store, proxy, tmp_path):
    others = [f'other/{number}' for number in range(3)]
    for key in others:
        store.put(key, str(tmp_path / 'object'))

    def rule(method, path, headers):
        if is_deletion_of_many(method, path, headers):
            return Answer(501, 'NotImplemented')
        if method == 'DELETE' and path.endswith(KEY):
            return Answer(403, 'AccessDenied', 'by a policy')
        return None

    proxy.rule = rule
    assert store.delete([others[0], KEY, *others[1:]]) == [
        Undeleted(KEY, 'AccessDenied: by a policy', is_denied=True)
    ]
    assert [store.size(key) for key in others] == [None] * 3
    assert store.size(KEY) == len(CONTENT)


def test_a_deletion_that_may_have_happened(store, proxy):
    """Then nothing is said of the keys."""
    proxy.rule = lambda *request: Answer(500, 'InternalError', 'later')
    with pytest.raises(Temporary, match='InternalError: later'):
        store.delete([KEY])


CASES = [
    ('PUT', Answer(501, 'NotImplemented', 'A header you provided'), 'misconfigured', 'no condit'),
    ('PUT', Answer(400, 'InvalidArgument', 'If-None-Match is bad'), 'misconfigured', 'no condit'),
    ('PUT', Answer(400, 'InvalidRequest', 'x-amz-checksum-sha256 ?'), 'misconfigured', 'no checks'),
    ('PUT', Answer(507, 'XMinioStorageFull', 'disk is full'), 'temporary', 'StorageFull: disk is'),
    ('PUT', Answer(403, 'AccessDenied', 'by a policy'), 'temporary', 'AccessDenied: by a policy'),
    ('PUT', Answer(403, 'RequestTimeTooSkewed', 'too large'), 'misconfigured', 'clock is wrong'),
    ('GET', Answer(400, 'AuthorizationHeaderMalformed', "'eu-1'"), 'misconfigured', 's3-region'),
    ('HEAD', Answer(403, 'RequestTimeTooSkewed', 'too large'), 'misconfigured', 'clock is wrong'),
    ('HEAD', Answer(400, 'ExpiredToken', 'has expired'), 'temporary', 'ExpiredToken: has expired'),
]


@pytest.mark.parametrize(('method', 'answer', 'kind', 'text'), CASES)
def test_what_was_said(store, proxy, tmp_path, monkeypatch, method, answer, kind, text):
    """With the endpoint, and without a second try where it would not help."""
    monkeypatch.setattr(s3, 'RETRY_UNTIL', 1)
    methods = {method, 'GET'} if method == 'HEAD' else {method}  # HEAD has no body
    proxy.rule = lambda asked, *_rest: answer if asked in methods else None
    act = {
        'PUT': lambda: store.put(KEY, str(tmp_path / 'object')),
        'GET': lambda: store.get(KEY, str(tmp_path / 'back')),
        'HEAD': lambda: store.size(KEY),
    }[method]
    with pytest.raises(HeadlessError) as caught:
        act()
    assert caught.value.kind == kind
    assert text in str(caught.value)
    if answer.status != 501 or kind == 'temporary':
        assert answer.code in str(caught.value)
    if answer.status < 502 and method != 'HEAD':  # botocore looks for the region, too
        assert len(proxy.asked) == len(methods)
    if 'no ' not in text:
        assert proxy.endpoint in str(caught.value)


def test_endpoint_of_something_else(store, proxy, monkeypatch):
    """Its answers have headers that are not those of S3."""

    def head(**_asked: str) -> None:
        raise ResponseParserError('Invalid header value received')

    monkeypatch.setattr(store._client, 'head_object', head)
    with pytest.raises(Temporary, match='s3-endpoint-url may be wrong') as caught:
        store.size(KEY)
    assert proxy.endpoint in str(caught.value)


def test_endpoint_without_tls(proxy, monkeypatch):
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'x')
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'x')
    store = s3.open_s3('s3://drafts', proxy.endpoint.replace('http', 'https'), 'us-east-1')
    with pytest.raises(Misconfigured, match='TLS'):
        store.check()


def test_endpoint_with_a_password(monkeypatch):
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'x')
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'x')
    store = s3.open_s3('s3://drafts', 'http://me:secret@127.0.0.1:9', 'us-east-1')
    with pytest.raises(Temporary, match=r'not reachable or too slow.*127\.0\.0\.1:9') as caught:
        store.check()
    assert 'secret' not in str(caught.value)
    with pytest.raises(Misconfigured, match='nowhere'):
        s3.open_s3('s3://drafts', 'nowhere', 'us-east-1')


@pytest.mark.slow
def test_drafts_whose_objects_cannot_be_deleted(world, make_server, settings, services, proxy):
    """Expiry goes on, they can be pushed again, and go once the store lets them."""
    there = settings.replace(services.endpoint, proxy.endpoint)
    server = make_server(settings=re.sub('^database = .*\\n', '', there))
    server.hg_fast('admin::headless-init')
    alice = world.clone(server.url('ssh'), 'alice')
    nodes = []
    for name in 'abc':
        alice.hg_fast('update', '-q', '0')
        nodes.append(alice.commit(name))
        alice.hg_fast('push', '-q', '-f', '-r', '.')
    keys = dict(server.sql('SELECT lower(hex(head)), "key" FROM bundles'))

    def rule(method, path, headers):
        if is_deletion_of_many(method, path, headers):
            return Answer(501, 'NotImplemented')
        if method == 'DELETE' and path.endswith(keys[nodes[0]]):
            return Answer(403, 'AccessDenied', 'by a policy')
        return None

    proxy.rule = rule
    out = server.hg_fast('admin::headless-expire', '-r', nodes[0], code=1)
    assert f'{keys[nodes[0]]} stays in the store, which says AccessDenied: by a policy' in out
    assert 'expired 1 draft' in out
    # It is in nobody's way.
    out = server.hg_fast('admin::headless-expire', '-r', nodes[1], code=1)
    assert 'expired 1 draft' in out and '1 object could not be deleted' in out
    assert server.sql("SELECT key FROM pending_deletions WHERE deleted") == [(keys[nodes[1]],)]
    assert 'stays in the store' in server.hg_fast('admin::headless-gc', code=1)
    # Pushed again, it is there, and stays when the store deletes again.
    alice.hg_fast('update', '-q', nodes[0])
    assert 'as push 4' in alice.hg_fast('push', '-f', '-r', nodes[0])
    proxy.rule = lambda *request: None
    server.hg_fast('admin::headless-gc')
    bob = world.clone(server.url('ssh'), 'bob', '-r', nodes[0], '-r', nodes[2])
    bob.verified()
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')
    # What is not pushed again goes.
    proxy.rule = rule
    server.hg_fast('admin::headless-expire', '-r', nodes[0], code=1)
    proxy.rule = lambda *request: None
    server.hg_fast('admin::headless-gc')
    assert server.sql('SELECT count(*) FROM pending_deletions WHERE NOT deleted') == [(0,)]
    found = json.loads(server.hg_fast('admin::headless-verify', '--full', '-T', 'json'))
    assert found == []


@pytest.mark.slow
def test_doctor_names_what_the_store_lacks(world, make_server, settings, services, proxy):
    server = make_server(settings=settings.replace(services.endpoint, proxy.endpoint))
    server.hg_fast('admin::headless-init')

    def doctor(status: int, code: str, *methods: str) -> str:
        proxy.rule = lambda method, *_: Answer(status, code) if method in methods else None
        out = server.hg_fast('admin::headless-doctor', code=None)
        return next(line for line in out.splitlines() if ': store: ' in line)

    assert doctor(200, '') == 'ok: store: an object was written, read, listed and deleted'
    assert 'may not delete' in doctor(403, 'AccessDenied', 'POST', 'DELETE')
    assert 'problem: store: ' in doctor(501, 'NotImplemented', 'POST', 'DELETE')
    assert 'no conditional writes' in doctor(501, 'NotImplemented', 'PUT')
    # What could not be deleted is nothing that a tool takes for a bundle.
    proxy.rule = lambda *request: None
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')
    assert 'rebuilt 0 bundles' in server.hg_fast('admin::headless-rebuild')
    # A cause is told once.
    server.configure(re.sub('endpoint-url = .*', f'endpoint-url = {free_url()[0]}', settings))
    assert server.hg_fast('admin::headless-doctor', code=None).count('not reachable') == 1
