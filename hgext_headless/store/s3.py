"""The S3 store, through boto3."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config

from ..config import MAX_S3_OBJECT
from ..errors import Corrupt, Misconfigured, Refused, Temporary
from . import Object

#: In seconds. No attempt begins after `RETRY_UNTIL`, so that a client gets an error within 30.
CONNECT_TIMEOUT = 4
READ_TIMEOUT = 10
RETRY_UNTIL = 12
#: Seconds between two attempts, doubled each time.
_PAUSE = 0.1
#: A download may take `_FETCH_TIME` seconds, and one more for each `_FETCH_BYTES` bytes.
_FETCH_TIME = 20
_FETCH_BYTES = 1 << 19

#: Maximum number of keys in one DeleteObjects.
_DELETED_AT_ONCE = 1000

_TYPE = 'application/octet-stream'
_EXISTS = {'409', '412', 'ConditionalRequestConflict', 'PreconditionFailed'}
_ABSENT = {'404', 'NoSuchKey', 'NotFound'}
#: Content encodings an object may have: clients that follow a link do not decode it.
_PLAIN = {'', 'identity', 'aws-chunked'}
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
    """Objects with a prefix in a bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def _key(self, key: str) -> str:
        return f'{self._prefix}/{key}' if self._prefix else key

    def put(self, key: str, path: str) -> None:
        with open(path, 'rb') as body, _clear_errors():
            size = os.fstat(body.fileno()).st_size
            if size > MAX_S3_OBJECT:
                raise Refused(f'a bundle has {size} bytes, and S3 takes {MAX_S3_OBJECT} at most')
            sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            for chunk in iter(lambda: body.read(1 << 20), b''):
                sha256.update(chunk)
                md5.update(chunk)

            def put() -> None:
                body.seek(0)
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(key),
                    Body=body,
                    ContentLength=size,
                    ContentType=_TYPE,
                    ChecksumSHA256=_base64(sha256.digest()),
                    IfNoneMatch='*',
                )

            try:
                _retried(put)
            except exceptions.ClientError as error:
                # It exists, or another process is writing it.
                if _code(error) not in _EXISTS:
                    raise
            self._check_stored(key, size, sha256.digest(), md5.hexdigest())

    def _check_stored(self, key: str, size: int, sha256: bytes, md5: str) -> None:
        """Check what the store has now, whatever it answered to the upload."""
        try:
            stored = self._head(key)
        except exceptions.ClientError as error:
            if _code(error) in _ABSENT:
                raise Temporary(f'the store does not have object {key} yet') from error
            raise
        same = stored['ContentLength'] == size and stored.get('ContentEncoding', '') in _PLAIN
        checksum = stored.get('ChecksumSHA256', '')
        if same and checksum and '-' not in checksum:
            same = checksum == _base64(sha256)
        # The ETag is the MD5, unless KMS encrypts the object, or somebody copied it in parts: then
        # read it.
        elif same and stored.get('ETag', '').strip('"') != md5:
            same = self._read_sha256(key) == sha256
        if not same:
            raise Temporary(
                f'the store has other content under the name {key}: an operator has to look'
            )

    def _head(self, key: str) -> Any:
        return _retried(
            lambda: self._client.head_object(
                Bucket=self._bucket, Key=self._key(key), ChecksumMode='ENABLED'
            )
        )

    def sha256(self, key: str) -> str:
        with _clear_errors():
            try:
                checksum = self._head(key).get('ChecksumSHA256', '')
            except exceptions.ClientError as error:
                raise _without_object(key, error) from error
            if checksum and '-' not in checksum:
                return base64.b64decode(checksum).hex()
            return self._read_sha256(key).hex()

    def _read_sha256(self, key: str) -> bytes:
        digest = hashlib.sha256()
        for chunk in self._chunks(key):
            digest.update(chunk)
        return digest.digest()

    def _chunks(self, key: str) -> Iterator[bytes]:
        """Yield the object's content, within a time limit that grows with its size."""
        try:
            answer = _retried(
                lambda: self._client.get_object(Bucket=self._bucket, Key=self._key(key))
            )
        except exceptions.ClientError as error:
            raise _without_object(key, error) from error
        if answer.get('ContentEncoding', '') not in _PLAIN:
            raise Corrupt(f'object {key} has a Content-Encoding, which no client reads')
        body = answer['Body']
        seconds = _FETCH_TIME + answer['ContentLength'] / _FETCH_BYTES
        timer = threading.Timer(seconds, _shut_down, (body,))
        timer.daemon = True
        timer.start()
        try:
            yield from body.iter_chunks(1 << 20)
        finally:
            timer.cancel()

    def size(self, key: str) -> int | None:
        with _clear_errors():
            try:
                size: int = self._head(key)['ContentLength']
            except exceptions.ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            return size

    def get(self, key: str, path: str) -> None:
        with _clear_errors(), open(path, 'wb') as out:
            out.writelines(self._chunks(key))

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
        return 0  # a PUT is atomic

    def check(self) -> None:
        with _clear_errors():
            self._client.head_bucket(Bucket=self._bucket)


def open_s3(url: str, endpoint_url: str | None, region: str | None) -> S3Store:
    """Return the store at ``s3://bucket/prefix``, without opening it. Raise `Misconfigured`.

    None is what boto3's own configuration says.
    """
    parts = urlsplit(url)
    client = _client(endpoint_url, region, os.getpid())
    return S3Store(client, parts.netloc, parts.path.strip('/'))


@functools.cache
def _client(endpoint_url: str | None, region: str | None, pid: int) -> Any:
    # Creating a client takes 0.2 s. Threads may share one, forked processes may not.
    with _clear_errors():
        return boto3.session.Session().client(
            's3',
            endpoint_url=endpoint_url,
            region_name=region,
            config=Config(
                signature_version='s3v4',
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={'total_max_attempts': 1},  # see `_retried`
                max_pool_connections=20,
            ),
        )


def _retried(call: Callable[[], Any]) -> Any:
    """Call ``call`` until it succeeds, fails permanently, or the time is up."""
    until = time.monotonic() + RETRY_UNTIL
    pause = _PAUSE
    while True:
        try:
            return call()
        except (exceptions.ClientError, exceptions.HTTPClientError) as error:
            if not _is_transient(error) or time.monotonic() + pause > until:
                raise
        time.sleep(pause * (0.5 + random.random()))
        pause *= 2


def _is_transient(error: Exception) -> bool:
    if not isinstance(error, exceptions.ClientError):
        # No retry if the store is down, so that the client need not wait; nor if it hangs,
        # because the time is used up then.
        return isinstance(error, exceptions.ConnectionClosedError)
    status = error.response.get('ResponseMetadata', {}).get('HTTPStatusCode', 0)
    return status >= 500 or status == 429 or _code(error) == 'RequestTimeout'


def _shut_down(body: Any) -> None:
    """Interrupt a body that another thread reads.

    This reaches the socket as botocore's own `set_socket_timeout` does.
    """
    with contextlib.suppress(AttributeError, OSError):
        body._raw_stream._fp.fp.raw._sock.shutdown(socket.SHUT_RDWR)


def _without_object(key: str, error: exceptions.ClientError) -> Exception:
    return Corrupt(f'the store has no object {key}') if _code(error) in _ABSENT else error


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode('ascii')


def _code(error: exceptions.ClientError) -> str:
    return str(error.response.get('Error', {}).get('Code', ''))


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """Convert boto3's errors to ours. Their text contains no credentials."""
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
