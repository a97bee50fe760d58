"""Limits for each user: pushes and bytes within a time, and stored drafts. Off by default."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .. import hgcompat
from ..catalog import session as sessions, statements, usage
from ..config import Settings
from ..errors import Refused

_MINUTE, _HOUR = 60, usage.LONGEST


def check(
    session: sessions.Session, settings: Settings, user: str, size: int, drafts: int
) -> None:
    """Raise `Refused` if a push would exceed a limit.

    The text says when ``user`` can push again, if time alone helps. The push has ``size``
    bytes, and at most ``drafts`` new drafts. Concurrent pushes do not count each other, so
    together they may exceed a limit.
    """
    if user in settings.limit_exempt:
        return
    name = hgcompat.to_bytes(user)
    now = statements.now(session)
    pushed: Sequence[usage.Pushed] = ()
    if settings.limit_pushes or settings.limit_burst or settings.limit_bytes:
        pushed = usage.pushed_since(
            session, name, now - _HOUR, max(settings.limit_pushes, settings.limit_burst)
        )
    for most, seconds, unit in (
        (settings.limit_burst, _MINUTE, 'a minute'),
        (settings.limit_pushes, _HOUR, 'an hour'),
    ):
        within = [push.date for push in pushed if push.date > now - seconds]
        if most and len(within) >= most:
            said = f'{most} {"push" if most == 1 else "pushes"} within {unit}'
            raise _refused(user, said, within[most - 1] + seconds, now)
    if settings.limit_bytes:
        _check_bytes(settings.limit_bytes, pushed, user, size, now)
    if settings.limit_drafts:
        there = usage.live_drafts(session, name, settings.limit_drafts + 1)
        if there + drafts > settings.limit_drafts:
            raise Refused(
                f'{user} may have {settings.limit_drafts} drafts stored at a time '
                '(headless.limit-drafts), until some expire or are removed'
            )


def _check_bytes(most: int, pushed: Sequence[usage.Pushed], user: str, size: int, now: int) -> None:
    said = f'{hgcompat.to_str(hgcompat.byte_count(most))} within an hour'
    if size > most:
        raise Refused(f'{user} may push {said} (headless.limit-bytes), and this push has more')
    total = size
    for push in pushed:
        total += push.size
        if total > most:
            raise _refused(user, said, push.date + _HOUR, now)


def _refused(user: str, said: str, end: int, now: int) -> Refused:
    at = time.strftime('%H:%M:%S', time.gmtime(end))
    return Refused(f'{user} may push {said}: again at {at} UTC, in {max(1, end - now)} seconds')
