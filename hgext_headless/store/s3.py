"""The S3 store, through botocore: what boto3 adds to it takes time, and is not used."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore import exceptions, loaders, parsers
from botocore.config import Config

from .. import lazy
from ..config import MAX_S3_OBJECT
from ..errors import Corrupt, Misconfigured, Refused, Temporary, file_failed
from . import Object, Undeleted, hashed

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
#: Codes of errors that a setting causes, and what is wrong.
_SETTINGS = {
    'NoSuchBucket': 'the bucket of headless.store does not exist',
    'RequestTimeTooSkewed': "this machine's clock is wrong",
    'AuthorizationHeaderMalformed': 'headless.s3-region is not the region of the bucket',
    'IllegalLocationConstraintException': 'headless.s3-region is not the region of the bucket',
    'PermanentRedirect': 'headless.s3-region is not the region of the bucket',
    '301': 'headless.s3-region is not the region of the bucket',
}
#: Codes of an answer to HEAD, which has no body, where that of a GET says what is wrong.
_SILENT = {'301', '400', '403'}
#: Codes with which a store may still delete an object.
_UNSURE = {'InternalError', 'ServiceUnavailable', 'SlowDown'}
_DENIED = {'403', 'AccessDenied'}
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

    def _clear_errors(self, path: str = '') -> contextlib.AbstractContextManager[None]:
        return _clear_errors(f'{self._client.meta.endpoint_url}/{self._bucket}', path)

    def _key(self, key: str) -> str:
        return f'{self._prefix}/{key}' if self._prefix else key

    def put(self, key: str, path: str) -> None:
        with open(path, 'rb') as body, self._clear_errors():
            size = os.fstat(body.fileno()).st_size
            if size > MAX_S3_OBJECT:
                raise Refused(f'a bundle has {size} bytes, and S3 takes {MAX_S3_OBJECT} at most')
            sha256, md5 = hashed(body, 'sha256', 'md5')

            def put() -> Any:
                body.seek(0)
                return self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(key),
                    Body=body,
                    ContentLength=size,
                    ContentType=_TYPE,
                    ChecksumSHA256=_base64(sha256.digest()),
                    IfNoneMatch='*',
                )

            try:
                # The ETag is mostly the MD5 of what the store has got: then it need not be asked.
                if _retried(put).get('ETag', '').strip('"') == md5.hexdigest():
                    return
            except exceptions.ClientError as error:
                _check_can_put(error)
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
        place = {'Bucket': self._bucket, 'Key': self._key(key)}
        try:
            return _retried(lambda: self._client.head_object(**place, ChecksumMode='ENABLED'))
        except exceptions.ClientError as error:
            if _code(error) in _SILENT:
                self._client.get_object(**place, Range='bytes=0-0')['Body'].close()
            raise

    def sha256(self, key: str) -> str:
        with self._clear_errors():
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
        with self._clear_errors():
            try:
                return self._head(key)['ContentLength']
            except exceptions.ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise

    def get(self, key: str, path: str) -> None:
        with self._clear_errors(path), open(path, 'wb') as out:
            out.writelines(self._chunks(key))

    def url(self, key: str, seconds: int) -> str | None:
        with self._clear_errors():
            return self._client.generate_presigned_url(
                'get_object',
                Params={'Bucket': self._bucket, 'Key': self._key(key)},
                ExpiresIn=seconds,
            )

    def local_path(self, key: str) -> str | None:
        return None

    def objects(self, prefix: str) -> Iterator[Object]:
        with self._clear_errors():
            pages = self._client.get_paginator('list_objects_v2').paginate(
                Bucket=self._bucket, Prefix=self._key(prefix)
            )
            for page in pages:
                for entry in page.get('Contents', ()):
                    key = entry['Key'][len(self._key('')) :]
                    yield Object(key, entry['Size'], entry['LastModified'].timestamp())

    def delete(self, keys: Sequence[str]) -> list[Undeleted]:
        undeleted: list[Undeleted] = []
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            batch = keys[start : start + _DELETED_AT_ONCE]
            with self._clear_errors():
                undeleted += self._delete_together(batch)
        return undeleted

    def _delete_together(self, keys: Sequence[str]) -> list[Undeleted]:
        names = {self._key(key): key for key in keys}
        try:
            answer = self._client.delete_objects(
                Bucket=self._bucket,
                Delete={'Objects': [{'Key': name} for name in names], 'Quiet': True},
            )
        except exceptions.ClientError as error:
            if not _is_about_keys(error):
                raise
            # Not every store has this request, or has it as botocore sends it.
            return [refused for key in keys for refused in self._delete_one(key)]
        undeleted = []
        for each in answer.get('Errors', ()):
            code = str(each.get('Code', ''))
            if code in _UNSURE:
                raise Temporary('the store failed', _said(each))
            key = names.get(each.get('Key', ''), '')
            undeleted.append(Undeleted(key, _said(each), code in _DENIED))
        return undeleted

    def _delete_one(self, key: str) -> list[Undeleted]:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))
        except exceptions.ClientError as error:
            if _code(error) in _ABSENT:
                return []
            if not _is_about_keys(error):
                raise
            said = _said(error.response.get('Error', {}))
            return [Undeleted(key, said, _code(error) in _DENIED)]
        return []

    def remove_abandoned(self, repository: str, before: float) -> int:
        return 0  # a PUT is atomic

    def check(self) -> None:
        with self._clear_errors():
            try:
                self._client.head_bucket(Bucket=self._bucket)
            except exceptions.ClientError as error:
                if _code(error) in _SILENT:
                    self._client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)
                raise


def open_s3(url: str, endpoint_url: str | None, region: str | None) -> S3Store:
    """Return the store at ``s3://bucket/prefix``, without opening it. Raise `Misconfigured`.

    None is what botocore's own configuration says.
    """
    parts = urlsplit(url)
    client = _client(endpoint_url, region, lazy.process())
    return S3Store(client, parts.netloc, parts.path.strip('/'))


@functools.cache
def _client(endpoint_url: str | None, region: str | None, pid: int) -> Any:
    # Creating a client takes 0.2 s. Threads may share one, forked processes may not.
    with _clear_errors(endpoint_url or 'S3'):
        try:
            session = botocore.session.Session()
            loader = loaders.create_loader(session.get_config_variable('data_path'))
            session.register_component('data_loader', _without_listing(loader))
            return session.create_client(
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
        except (exceptions.ProfileNotFound, ValueError) as error:
            raise Misconfigured('the store cannot be used', _public(error)) from error


def _without_listing(loader: Any) -> Any:
    """Let botocore's loader not look for its 400 services, which takes 55 ms.

    It is asked for S3, and for those that credentials come from.
    """
    load = loader.load_service_model
    asked = set()

    def load_service_model(service: str, *args: Any, **kwargs: Any) -> Any:
        asked.add(service)  # the next step fails if there is no such service
        return load(service, *args, **kwargs)

    loader.load_service_model = load_service_model
    loader.list_available_services = lambda _type: asked
    return loader


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
    status = _status(error)
    return (status >= 500 and status != 501) or status == 429 or _code(error) == 'RequestTimeout'


def _is_about_keys(error: exceptions.ClientError) -> bool:
    """Return whether the store has said that it does not do it, and would do something else."""
    others = (_CREDENTIALS - _DENIED) | set(_SETTINGS)
    return not _is_transient(error) and _status(error) >= 400 and _code(error) not in others


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


def _status(error: exceptions.ClientError) -> int:
    return int(error.response.get('ResponseMetadata', {}).get('HTTPStatusCode', 0))


def _said(answer: Mapping[str, Any]) -> str:
    """Return code and message of an error that the store told, in one line."""
    code, message = str(answer.get('Code') or 'unknown error'), str(answer.get('Message') or '')
    return _public(f'{code}: {message}') if message and message != code else code


def _public(text: object) -> str:
    """Return a text in one line, without the user name and password of a URL in it."""
    return re.sub('//[^/@ ]*@', '//', ' '.join(str(text).split()))


def _check_can_put(error: exceptions.ClientError) -> None:
    """Raise `Misconfigured` if the store does not know the headers of an upload."""
    told = error.response.get('Error', {})
    text = f'{told.get("Message", "")} {told.get("Header", "")}'.lower()
    if _status(error) not in (400, 501) or _code(error) in _CREDENTIALS | set(_SETTINGS):
        return
    if 'checksum' in text or 'trailer' in text or 'aws-chunked' in text:
        lacks = 'checksums (x-amz-checksum-sha256)'
    elif _status(error) == 501 or 'none-match' in text or _code(error) == 'NotImplemented':
        lacks = 'conditional writes (If-None-Match)'
    else:
        return
    raise Misconfigured(f'this store has no {lacks}', f'it says {_said(told)}') from error


@contextlib.contextmanager
def _clear_errors(endpoint: str, path: str = '') -> Iterator[None]:
    """Convert botocore's errors to ours, with what was asked, what was said and by whom.

    No credentials are told.
    """
    at = f', {_public(endpoint)}'
    try:
        yield
    except exceptions.ClientError as error:
        told = _said(error.response.get('Error', {}))
        code, said = _code(error), f'{error.operation_name}: {told}{at}'
        if code in _SETTINGS:
            raise Misconfigured(_SETTINGS[code], said) from error
        if code in _CREDENTIALS:
            raise Temporary('the store refuses the credentials of this server', said) from error
        raise Temporary('the store failed', said) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise Misconfigured(
            'this server has no credentials for the store', _public(error)
        ) from error
    except exceptions.NoRegionError as error:
        raise Misconfigured('headless.s3-region is not set') from error
    except (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
    ) as error:
        if re.search('WRONG_VERSION_NUMBER|CERTIFICATE_VERIFY_FAILED', str(error)):
            raise Misconfigured('TLS with the store fails', _public(error) + at) from error
        raise Temporary('the store is not reachable or too slow', _public(error) + at) from error
    except parsers.ResponseParserError as error:
        told = f'what answers there is not an S3 server{at}'
        raise Temporary('headless.s3-endpoint-url may be wrong', told) from error
    except (exceptions.BotoCoreError, ValueError) as error:
        raise Temporary('the store failed', _public(error) + at) from error
    except OSError as error:
        raise file_failed('a file of this server failed', error, path) from error
