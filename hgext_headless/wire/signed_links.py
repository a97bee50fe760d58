"""Links to bundles: short enough for a parameter of a bundle2 part, signed, and short-lived.

    <base>/headless-bundle/<sha256>?expires=<epoch seconds>&signature=<22 characters>

A presigned S3 URL has 270 to 1,220 bytes, and a parameter of a part at most 255. So the link
leads to this server, which redirects.
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

from ..config import MAX_LINK, Settings
from ..errors import Refused, Temporary
from ..model import Bundle
from ..store import object_keys

ROUTE = 'headless-bundle'
#: Bytes of the HMAC-SHA256 in a signature: 128 bits, as in an AES key.
_SIGNATURE = 16
_DIGEST = re.compile(r'[0-9a-f]{64}')
_EXPIRES = re.compile(r'[0-9]{1,10}')


def link(settings: Settings, bundle: Bundle, base: str | None) -> str | None:
    """Return the URL from which a client is to fetch ``bundle``; None if it cannot have one.

    ``base`` is the absolute URL of the repository as the client sees it.
    """
    if settings.bundle_url:
        url: str | None = f'{settings.bundle_url}/{bundle.key}'
    else:
        url = _signed(settings, bundle, base)
    return url if url is not None and len(url.encode('utf-8')) <= MAX_LINK else None


def _signed(settings: Settings, bundle: Bundle, base: str | None) -> str | None:
    secret = _secret(settings, create=True)
    if base is None or secret is None:
        return None
    digest = object_keys.digest(bundle.key)
    expires = int(time.time()) + settings.link_ttl
    signature = _signature(secret, settings.repository, digest, expires)
    return f'{base}/{ROUTE}/{digest}?expires={expires}&signature={signature}'


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
    """Return the signing key: ``link-secret`` if it is set, otherwise the repository's own.

    Return None if that does not exist and ``create`` is false.
    """
    if settings.link_secret:
        return settings.link_secret.encode('utf-8', 'surrogateescape')
    path = os.path.join(settings.home, 'link-secret')
    for _attempt in range(2):
        with contextlib.suppress(FileNotFoundError):
            with open(path, 'rb') as file:
                return file.read() or None
        if not create:
            return None
        _create_secret(path)
    return None


def _create_secret(path: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        temporary = f'{path}.{os.getpid()}.{secrets.token_hex(4)}'
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, 'w') as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # atomic, and the first one wins
        os.unlink(temporary)
    except OSError as error:
        raise Temporary('the secret for links cannot be written') from error
