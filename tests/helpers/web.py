"""Asking web servers."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from typing import Any

from helpers.world import BELOW_HGWEBDIR


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


def fetch(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers; redirects are not followed.

    Links are as on a server without hgwebdir: see `world.BELOW_HGWEBDIR`.
    """
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=40) as answer:
            return answer.status, _from_the_root(url, answer.read()), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, _from_the_root(url, error.read()), dict(error.headers)


def _from_the_root(url: str, body: bytes) -> bytes:
    """The page with all links taken out of a repository's folder, in which they have to be."""
    found = re.match('http://[^/]+/(group/[^/]+/)', url)
    if not (BELOW_HGWEBDIR and found):
        return body
    path = found.group(1).encode()
    for link in re.findall(rb'(?:href|src|action)="/([^"]*)"', body):
        # The way up, and what hgwebdir itself serves.
        outside = link in (b'', b'group') or link.startswith(b'static/')
        assert outside or f'{link.decode()}/'.startswith(path.decode()), (url, link)
    body = body.replace(b'/' + path, b'/').replace(b'"/' + path[:-1] + b'"', b'"/"')
    name = path.split(b'/')[1]
    return body.replace(b'<a href="/">' + name + b'</a>', b'<a href="/">NAME</a>')


def fetch_json(url: str, status: int = 200) -> Any:
    code, body, headers = fetch(url)
    assert code == status, (url, code, body)
    assert headers['Content-Type'].startswith('application/json'), headers
    return json.loads(body)


def fetch_page(url: str, status: int = 200) -> str:
    code, body, _headers = fetch(url)
    assert code == status, (url, code, body)
    return body.decode('utf-8')
