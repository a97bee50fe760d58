"""The route of links to bundles: ``headless-bundle/<sha256>``.

It needs no login, because the link has its own token. It never answers 401, because after a 401
hg also sends the user's password to the target of the redirect.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mercurial import util

from .. import hgcompat, timings
from ..backend import Backend
from ..errors import Corrupt, HeadlessError, Refused, Temporary
from ..store import object_keys
from ..store.files import open_plain
from ..timings import Stages
from ..wire import signed_links
from .error_pages import RETRY

#: Seconds in which a client follows the redirect. It does so at once.
_REDIRECTED = 60

_STATUS = {
    'refused': b'403 Forbidden',
    'temporary': b'503 Service Unavailable',
    'misconfigured': b'503 Service Unavailable',
    'corrupt': b'404 Not Found',
}


def matches(req: Any) -> bool:
    """Return whether a request (hgweb's `parsedrequest`) is for this route."""
    parts = req.dispatchparts
    return bool(parts) and parts[0] == signed_links.ROUTE.encode()


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
        _text(res, _STATUS[exc.kind], exc.line())
    except Exception as exc:
        repo.ui.log(b'headless', b'link: %s\n', hgcompat.to_bytes(repr(exc)))
        _text(res, b'503 Service Unavailable', 'headless: temporary: try again later')
    chunks: Iterator[bytes] = res.sendresponse()
    return chunks


def _serve(backend: Backend, req: Any, res: Any, stages: Stages) -> None:
    digest, expires, signature = (
        hgcompat.to_str(value)
        for value in (
            b'/'.join(req.dispatchparts[1:]),
            req.qsparams.get(b'expires', b''),
            req.qsparams.get(b'signature', b''),
        )
    )
    signed_links.check(backend.settings, digest, expires, signature)
    key = object_keys.key(backend.settings.repository, digest)
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
        raise Corrupt('there is no such bundle') from exc
    except OSError as exc:
        raise Temporary(f'the bundle cannot be read: {exc.strerror}') from exc
    res.status = b'200 Script output follows'
    res.headers[b'Content-Type'] = b'application/octet-stream'
    size = os.fstat(file.fileno()).st_size
    stages.note(bytes=size)
    res.headers[b'Content-Length'] = b'%d' % size
    res.setbodygen(_chunks(file))


def _chunks(file: Any) -> Iterator[bytes]:
    with file:
        yield from util.filechunkiter(file)


def _text(res: Any, status: bytes, text: str) -> None:
    res.status = status
    if status.startswith(b'503'):
        name, seconds = RETRY
        res.headers[name] = seconds
    res.headers[b'Content-Type'] = b'text/plain; charset=utf-8'
    res.setbodybytes(hgcompat.to_bytes(text + '\n'))
