"""Asking web servers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


def fetch(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers; redirects are not followed."""
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=40) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def fetch_json(url: str, status: int = 200) -> Any:
    code, body, headers = fetch(url)
    assert code == status, (url, code, body)
    assert headers['Content-Type'].startswith('application/json'), headers
    return json.loads(body)


def fetch_page(url: str, status: int = 200) -> str:
    code, body, _headers = fetch(url)
    assert code == status, (url, code, body)
    return body.decode('utf-8')
