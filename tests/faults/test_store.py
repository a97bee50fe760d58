"""Faults of S3 that no real server shows on demand: moto, and answers put in its place."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import boto3
import pytest
from botocore import exceptions
from moto import mock_aws

from hgext_headless.errors import Corrupt, Misconfigured, Refused, Temporary
from hgext_headless.store import s3
from hgext_headless.store.files import FileStore
from hgext_headless.store.s3 import S3Store

KEY = 'try/ab/abc.hg'


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'x')
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'x')
    with mock_aws():
        client = boto3.client('s3', region_name='us-east-1')
        client.create_bucket(Bucket='drafts')
        yield client


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'bundle'
    path.write_bytes(b'HG10UN data')
    return str(path)


def failing(client, monkeypatch, operation, code, status):
    def fail(**kwargs):
        response = {'Error': {'Code': code}, 'ResponseMetadata': {'HTTPStatusCode': status}}
        raise exceptions.ClientError(response, operation)

    monkeypatch.setattr(client, operation, fail)


def test_put_and_get(client, file, tmp_path):
    store = S3Store(client, 'drafts', 'prefix')
    store.check()
    assert store.size(KEY) is None
    store.put(KEY, file)
    assert store.size(KEY) == 11
    store.get(KEY, str(tmp_path / 'back'))
    assert (tmp_path / 'back').read_bytes() == b'HG10UN data'
    url = store.url(KEY, 60)
    assert url is not None and 'prefix/' + KEY in url


def test_absent(client, tmp_path):
    with pytest.raises(Corrupt):
        S3Store(client, 'drafts', '').get(KEY, str(tmp_path / 'back'))
    with pytest.raises(Misconfigured):
        S3Store(client, 'no-such-bucket', '').get(KEY, str(tmp_path / 'back'))


def test_object_that_is_there_already(client, file, monkeypatch):
    store = S3Store(client, 'drafts', '')
    store.put(KEY, file)
    failing(client, monkeypatch, 'put_object', 'PreconditionFailed', 412)
    store.put(KEY, file)


def test_somebody_else_writes_it_now(client, file, monkeypatch):
    store = S3Store(client, 'drafts', '')
    failing(client, monkeypatch, 'put_object', 'ConditionalRequestConflict', 409)
    with pytest.raises(Temporary):  # nobody has been seen to finish it
        store.put(KEY, file)


def test_store_that_keeps_other_bytes(client, file, monkeypatch):
    """It answers 200."""
    store = S3Store(client, 'drafts', '')
    put = client.put_object

    def lie(**kwargs):
        del kwargs['ChecksumSHA256']
        return put(**{**kwargs, 'Body': b'HG10UN DATA'})

    monkeypatch.setattr(client, 'put_object', lie)
    with pytest.raises(Temporary, match='has other content under the name'):
        store.put(KEY, file)


@pytest.mark.parametrize('what', [b'HG10UN DATA', b'HG10UN data and more'])
def test_other_content_under_the_name(client, file, monkeypatch, what):
    store = S3Store(client, 'drafts', '')
    client.put_object(Bucket='drafts', Key=KEY, Body=what)
    with pytest.raises(Temporary, match='has other content'):
        store.put(KEY, file)


def test_other_content_in_the_file_store(file, tmp_path):
    store = FileStore(str(tmp_path / 'store'))
    store.put(KEY, file)
    store.put(KEY, file)
    (tmp_path / 'store' / KEY).write_bytes(b'HG10UN DATA')
    with pytest.raises(Temporary, match='has other content'):
        store.put(KEY, file)


def test_more_than_one_put_takes(client, file, monkeypatch):
    monkeypatch.setattr(s3, 'MAX_S3_OBJECT', 10)
    store = S3Store(client, 'drafts', '')
    with pytest.raises(Refused, match='has 11 bytes, and S3 takes 10 at most'):
        store.put(KEY, file)
    assert store.size(KEY) is None


def test_content_encoding(client, file, tmp_path):
    store = S3Store(client, 'drafts', '')
    with open(file, 'rb') as body:
        client.put_object(Bucket='drafts', Key=KEY, Body=body, ContentEncoding='gzip')
    with pytest.raises(Corrupt, match='Content-Encoding'):
        store.get(KEY, str(tmp_path / 'back'))
    with pytest.raises(Temporary, match='has other content'):
        store.put(KEY, file)


def test_again_within_the_deadline(client, file, monkeypatch):
    """503 twice, and then it works."""
    store = S3Store(client, 'drafts', '')
    put, answers = client.put_object, ['SlowDown', 'InternalError']

    def busy(**kwargs):
        if answers:
            response = {
                'Error': {'Code': answers.pop()},
                'ResponseMetadata': {'HTTPStatusCode': 503},
            }
            raise exceptions.ClientError(response, 'PutObject')
        return put(**kwargs)

    monkeypatch.setattr(client, 'put_object', busy)
    store.put(KEY, file)
    assert store.size(KEY) == 11


def drip(connection):
    """An S3 that sends one byte at a time."""
    with connection:
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n')
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b'x')
                time.sleep(0.2)


def test_store_that_drips(monkeypatch, tmp_path):
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'x')
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'x')
    monkeypatch.setattr(s3, '_FETCH_TIME', 1)
    with socket.create_server(('127.0.0.1', 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=drip, args=listener.accept()[:1], daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        url = f'http://127.0.0.1:{listener.getsockname()[1]}'
        store = s3.open_s3('s3://drafts', url, 'us-east-1')
        started = time.monotonic()
        with pytest.raises(Temporary):
            store.get(KEY, str(tmp_path / 'back'))
        assert time.monotonic() - started < 60  # all of it would take 200 seconds


@pytest.mark.parametrize('code', ['SlowDown', 'InternalError', 'AccessDenied', 'ExpiredToken'])
def test_faults_are_temporary(client, file, monkeypatch, code):
    monkeypatch.setattr(s3, 'RETRY_UNTIL', 0.2)
    store = S3Store(client, 'drafts', '')
    failing(client, monkeypatch, 'put_object', code, 500)
    with pytest.raises(Temporary) as caught:
        store.put(KEY, file)
    assert caught.value.line().startswith('headless: temporary: the store ')
