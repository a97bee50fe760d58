"""One delivery: a request to a webhook, or lines for a command's standard input.

The signature of a webhook is in the header ``X-Hub-Signature-256``, as WebSub and GitHub have it:
``sha256=`` and the HMAC-SHA256 of the body with the secret, hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple

from .targets import Target

#: Seconds.
_WEBHOOK_TIMEOUT, _COMMAND_TIMEOUT = 10, 300


class Message(NamedTuple):
    """A push: ``body`` is JSON, as ``json-pushes`` has it."""

    push_id: int
    body: bytes


class Undelivered(Exception):
    """A target did not take a message. The text says why, and has no secret."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would follow a redirect with GET and without the body."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def deliver(target: Target, repository: str, messages: Sequence[Message]) -> int:
    """Deliver messages in order; return the last push that the target has taken.

    A webhook takes one message at a time, a command all of them. Raise `Undelivered`.
    """
    if target.url is not None:
        _post(target, repository, messages[0])
        return messages[0].push_id
    _pipe(target, messages)
    return messages[-1].push_id


def _post(target: Target, repository: str, message: Message) -> None:
    headers = {
        'Content-Type': 'application/json',
        'User-Agent': 'hgext-headless',
        'X-Headless-Repository': repository,
        'X-Headless-Push': str(message.push_id),
    }
    if target.secret is not None:
        digest = hmac.new(target.secret, message.body, hashlib.sha256).hexdigest()
        headers['X-Hub-Signature-256'] = f'sha256={digest}'
    assert target.url is not None
    request = urllib.request.Request(target.url, data=message.body, headers=headers)
    try:
        with _opener.open(request, timeout=_WEBHOOK_TIMEOUT) as response:
            response.read(1 << 16)
    except urllib.error.HTTPError as exc:
        exc.close()
        raise Undelivered(f'it answered {exc.code}') from exc
    except (OSError, http.client.HTTPException) as exc:
        reason = getattr(exc, 'reason', None) or exc
        raise Undelivered(f'it cannot be reached: {reason}') from exc


def _pipe(target: Target, messages: Sequence[Message]) -> None:
    lines = b''.join(message.body + b'\n' for message in messages)
    try:
        done = subprocess.run(
            target.command or '', shell=True, input=lines, timeout=_COMMAND_TIMEOUT
        )
    except subprocess.TimeoutExpired as exc:
        raise Undelivered(f'it did not end within {_COMMAND_TIMEOUT} seconds') from exc
    except OSError as exc:
        raise Undelivered(f'it cannot be started: {exc.strerror}') from exc
    if done.returncode:
        raise Undelivered(f'it ended with exit code {done.returncode}')
