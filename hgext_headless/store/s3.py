"""The S3 store, through boto3."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config

from ..model import Corrupt, Misconfigured, Temporary
from . import Object

#: Seconds; with two attempts they stay below the 30 in which a client has to be told.
CONNECT_TIMEOUT = 4
READ_TIMEOUT = 10
ATTEMPTS = 2

#: What one PUT takes; the largest bundle that can be stored.
MAX_OBJECT = 5 * 1024**3

#: Keys that one DeleteObjects takes.
_DELETED_AT_ONCE = 1000

_ABSENT = {'404', 'NoSuchKey', 'NotFound'}
_CREDENTIALS = {
    '401',
    '403',
    'AccessDenied',
    'ExpiredToken',
    'InvalidAccessKeyId',
    'InvalidToken',
    'SignatureDoesNotMatch',
}


class S3Store:
    """Objects below a prefix of a bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def _key(self, key: str) -> str:
        return f'{self._prefix}/{key}' if self._prefix else key

    def put(self, key: str, path: str) -> None:
        with open(path, 'rb') as body, _clear_errors():
            digest = hashlib.sha256()
            for chunk in iter(lambda: body.read(1 << 20), b''):
                digest.update(chunk)
            body.seek(0)
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(key),
                    Body=body,
                    ContentLength=os.fstat(body.fileno()).st_size,
                    ContentType='application/octet-stream',
                    ChecksumSHA256=base64.b64encode(digest.digest()).decode('ascii'),
                    IfNoneMatch='*',
                )
            except exceptions.ClientError as error:
                # 412: it is there. 409: somebody else is writing it now; then it
                # has to be seen to be there.
                code = _code(error)
                if code in ('412', 'PreconditionFailed'):
                    return
                if code not in ('409', 'ConditionalRequestConflict'):
                    raise
                if self.size(key) is None:
                    raise Temporary('the store is busy with the same object') from error

    def size(self, key: str) -> int | None:
        with _clear_errors():
            try:
                answer = self._client.head_object(Bucket=self._bucket, Key=self._key(key))
            except exceptions.ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            size: int = answer['ContentLength']
            return size

    def get(self, key: str, path: str) -> None:
        with _clear_errors(), open(path, 'wb') as out:
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key))
            except exceptions.ClientError as error:
                if _code(error) in _ABSENT:
                    raise Corrupt(f'the store has no object {key}') from error
                raise
            for chunk in answer['Body'].iter_chunks(1 << 20):
                out.write(chunk)

    def url(self, key: str, seconds: int) -> str | None:
        with _clear_errors():
            url: str = self._client.generate_presigned_url(
                'get_object',
                Params={'Bucket': self._bucket, 'Key': self._key(key)},
                ExpiresIn=seconds,
            )
            return url

    def local_path(self, key: str) -> str | None:
        return None

    def objects(self, prefix: str) -> Iterator[Object]:
        with _clear_errors():
            pages = self._client.get_paginator('list_objects_v2').paginate(
                Bucket=self._bucket, Prefix=self._key(prefix)
            )
            for page in pages:
                for entry in page.get('Contents', ()):
                    key = entry['Key'][len(self._key('')) :]
                    yield Object(key, entry['Size'], entry['LastModified'].timestamp())

    def delete(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            named = [{'Key': self._key(key)} for key in keys[start : start + _DELETED_AT_ONCE]]
            with _clear_errors():
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={'Objects': named, 'Quiet': True}
                )
            failed = answer.get('Errors', ())
            if failed:
                raise Temporary(
                    f'the store did not delete {len(failed)} objects '
                    f'({failed[0].get("Code", "unknown error")})'
                )

    def remove_abandoned(self, repository: str, before: float) -> int:
        return 0  # a PUT is there whole or not at all

    def check(self) -> None:
        with _clear_errors():
            self._client.head_bucket(Bucket=self._bucket)


def open_s3(bucket: str, prefix: str, endpoint_url: str | None, region: str | None) -> S3Store:
    return S3Store(_client(endpoint_url, region, os.getpid()), bucket, prefix)


@functools.cache
def _client(endpoint_url: str | None, region: str | None, pid: int) -> Any:
    # A client takes 0.2 s to make and may be shared by threads, not by forks.
    with _clear_errors():
        return boto3.session.Session().client(
            's3',
            endpoint_url=endpoint_url,
            region_name=region,
            config=Config(
                signature_version='s3v4',
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={'total_max_attempts': ATTEMPTS, 'mode': 'standard'},
                max_pool_connections=20,
            ),
        )


def _code(error: exceptions.ClientError) -> str:
    return str(error.response.get('Error', {}).get('Code', ''))


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn boto3's errors into ours, without a key in them."""
    try:
        yield
    except exceptions.ClientError as error:
        code = _code(error)
        if code in _CREDENTIALS:
            raise Temporary('the store refuses the credentials of this server') from error
        if code == 'NoSuchBucket':
            raise Misconfigured('the bucket of headless.store does not exist') from error
        raise Temporary(f'the store failed ({code or "unknown error"})') from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise Misconfigured('this server has no credentials for the store') from error
    except exceptions.NoRegionError as error:
        raise Misconfigured('headless.s3-region is not set') from error
    except (exceptions.BotoCoreError, OSError, ValueError) as error:
        raise Temporary('the store is not reachable or too slow') from error
