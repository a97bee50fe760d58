"""Faults of S3 that no real server shows on demand: moto, and answers put in its place."""

from __future__ import annotations

import boto3
import pytest
from botocore import exceptions
from moto import mock_aws

from hgext_headless.model import Corrupt, Misconfigured, Temporary
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
    assert 'prefix/' + KEY in store.url(KEY, 60)


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


@pytest.mark.parametrize('code', ['SlowDown', 'InternalError', 'AccessDenied', 'ExpiredToken'])
def test_faults_are_temporary(client, file, monkeypatch, code):
    store = S3Store(client, 'drafts', '')
    failing(client, monkeypatch, 'put_object', code, 500)
    with pytest.raises(Temporary) as caught:
        store.put(KEY, file)
    assert caught.value.line().startswith('headless: temporary: the store ')
