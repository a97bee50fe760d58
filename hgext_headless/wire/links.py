"""Links to bundles: make and sign them, verify them, answer requests for them.

The route ``headless-bundle/<sha256>`` needs no login, because the link has its own token. It never
answers 401, because after a 401 hg also sends the user's password to the target of the redirect.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Iterator
from typing import Any

from mercurial.hgweb.common import statusmessage

from .. import hgcompat, sharing, store as stores, timings
from ..backend import Backend
from ..config import MAX_LINK, Settings
from ..errors import RETRY_AFTER, Corrupt, HeadlessError, Refused, Temporary, file_failed
from ..model import Bundle
from ..store.files import open_plain
from ..timings import Stages

ROUTE = 'headless-bundle'
#: Bytes of the HMAC-SHA256 in a signature: 128 bits, as in an AES key.
_SIGNATURE = 16
_DIGEST = re.compile(r'[0-9a-f]{64}')
_EXPIRES = re.compile(r'[0-9]{1,10}')
#: Seconds in which a client follows the redirect. It does so at once.
_REDIRECTED = 60


def link(settings: Settings, bundle: Bundle, base: str | None) -> str | None:
    """Return the URL from which a client is to fetch ``bundle``; None if it cannot have one.

    ``base`` is the absolute URL of the repository as the client sees it.
    """
    if settings.bundle_url:
        url = f'{settings.bundle_url}/{bundle.key}'
    else:
        secret = _secret(settings, create=True)
        if base is None or secret is None:
            return None
        digest = stores.digest(bundle.key)
        expires = int(time.time()) + settings.link_ttl
        signature = _signature(secret, settings.repository, digest, expires)
        url = f'{base}/{ROUTE}/{digest}?expires={expires}&signature={signature}'
    return url if len(url.encode('utf-8')) <= MAX_LINK else None


def check(settings: Settings, digest: str, expires: str, signature: str) -> None:
    """Raise `Refused` unless a server with our secret made the link and it has not expired."""
    secret = _secret(settings, create=False)
    if secret is None or not _DIGEST.fullmatch(digest) or not _EXPIRES.fullmatch(expires):
        raise Refused('this link was not made here')
    expected = _signature(secret, settings.repository, digest, int(expires))
    if not hmac.compare_digest(expected.encode(), signature.encode('utf-8', 'replace')):
        raise Refused('this link was not made here')
    if int(expires) < time.time():
        raise Refused('this link has expired')


def _signature(secret: bytes, repository: str, digest: str, expires: int) -> str:
    message = f'{ROUTE}\0{repository}\0{digest}\0{expires}'.encode()
    mac = hmac.new(secret, message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac[:_SIGNATURE]).decode('ascii').rstrip('=')


def _secret(settings: Settings, create: bool) -> bytes | None:
    """Return ``link-secret``, or else the repository's own, which ``create`` makes; or None."""
    if settings.link_secret:
        return settings.link_secret.encode('utf-8', 'surrogateescape')
    path = os.path.join(settings.home, 'link-secret')
    for _attempt in range(2):
        with contextlib.suppress(FileNotFoundError):
            with open_plain(path) as file:
                return file.read() or None
        if not create:
            return None
        _create_secret(path)
    return None


def _create_secret(path: str) -> None:
    try:
        sharing.make_folders(os.path.dirname(path), 0o700)
        temporary = f'{path}.{os.getpid()}.{secrets.token_hex(4)}'
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, 'w') as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        sharing.share(temporary)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # atomic, and the first one wins
        os.unlink(temporary)
    except OSError as error:
        raise file_failed('the secret for links cannot be written', error) from error


def matches(req: Any) -> bool:
    """Return whether a request (hgweb's `parsedrequest`) is for this route."""
    parts = req.dispatchparts
    return bool(parts) and parts[0] == ROUTE.encode()


def answer(repo: Any, req: Any, res: Any) -> Iterator[bytes]:
    """Return the response: a redirect to the store, the bundle itself, or a line of text.

    The response is logged before a bundle is streamed.
    """
    try:
        with timings.logged(repo.ui, 'link') as stages:
            if req.method not in (b'GET', b'HEAD'):
                raise Refused('only GET is served here')
            _serve(repo.headless, req, res, stages)
    except HeadlessError as exc:
        _text(res, 404 if isinstance(exc, Corrupt) else exc.status, exc.line(on_page=True))
    except Exception as exc:
        timings.note_failure(repo.ui, 'link', exc)
        _text(res, Temporary.status, 'headless: temporary: try again later')
    return res.sendresponse()


def _serve(backend: Backend, req: Any, res: Any, stages: Stages) -> None:
    digest, expires, signature = (
        hgcompat.to_str(value)
        for value in (
            b'/'.join(req.dispatchparts[1:]),
            req.qsparams.get(b'expires', b''),
            req.qsparams.get(b'signature', b''),
        )
    )
    check(backend.settings, digest, expires, signature)
    key = stores.key(backend.settings.repository, digest)
    stages.note(bundle=key)
    with stages.stage('sign'):
        url = backend.store.url(key, _REDIRECTED)
    stages.note(by='redirect' if url is not None else 'stream')
    if url is not None:
        res.status = b'302 Found'
        res.headers[b'Location'] = hgcompat.to_bytes(url)
        res.headers[b'Content-Type'] = b'text/plain'
        res.headers[b'Cache-Control'] = b'no-store'
        res.setbodybytes(b'')
        return
    path = backend.store.local_path(key)
    assert path is not None
    try:
        file = open_plain(path)
    except FileNotFoundError as exc:
        backend.store.size(key)  # says so if there is no store
        raise Corrupt('there is no such bundle') from exc
    except OSError as exc:
        raise file_failed('the bundle cannot be read', exc) from exc
    res.status = b'200 Script output follows'
    res.headers[b'Content-Type'] = b'application/octet-stream'
    size = os.fstat(file.fileno()).st_size
    stages.note(bytes=size)
    res.headers[b'Content-Length'] = b'%d' % size
    res.setbodygen(hgcompat.file_chunks(file))


def _text(res: Any, status: int, text: str) -> None:
    res.status = statusmessage(status)
    if status == Temporary.status:
        name, seconds = RETRY_AFTER
        res.headers[name] = seconds
    res.headers[b'Content-Type'] = b'text/plain; charset=utf-8'
    res.setbodybytes(hgcompat.to_bytes(text + '\n'))
