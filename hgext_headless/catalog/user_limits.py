"""Limits for each user: pushes and bytes within a time, and stored drafts. Off by default."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mercurial import util
from sqlalchemy import delete, func, insert, select

from .. import hgcompat
from ..config import Settings
from ..errors import Refused, counted
from . import statements
from .drafts import is_stored
from .schema import changesets, other_pushes, push_changesets, pushes
from .statements import Session

#: Number of pushes to count at least: hardly anybody makes more within the time of a limit.
_COUNTED = 10_000
#: The times that limits are about, in seconds.
_MINUTE, _HOUR = 60, 3600


#: The date of a push, in seconds since the epoch, and its size in bytes.
_Pushed = tuple[int, int]


def _pushed_since(session: Session, user: bytes, since: int, limit: int) -> list[_Pushed]:
    """Return the pushes of ``user`` since then (seconds since the epoch), the newest first.

    At least ``limit`` pushes are returned if there are so many. `record` has noted those that
    brought no changeset.
    """
    found: list[_Pushed] = []
    for table, newest in ((pushes, pushes.c.push_id), (other_pushes, other_pushes.c.date)):
        query = (
            select(table.c.date, table.c.size)
            .where(session.mine(table), table.c.user == user, table.c.date > since)
            .order_by(newest.desc())
            .limit(max(_COUNTED, limit))
        )
        found += ((row.date, row.size or 0) for row in session.execute(query))
    return sorted(found, reverse=True)


def record(session: Session, user: bytes, size: int) -> None:
    """Note a push of ``user`` that stored something and brought no changeset."""
    of_user = session.mine(other_pushes), other_pushes.c.user == user
    is_old = other_pushes.c.date < session.clock - _HOUR
    session.execute(delete(other_pushes).where(*of_user, is_old))
    row = {'repository_id': session.owner, 'user': user, 'size': size}
    session.execute(insert(other_pushes).values(date=session.clock, **row))


def _live_drafts(session: Session, user: bytes, most: int) -> int:
    """Return the number of stored drafts that pushes of ``user`` brought, up to ``most``."""
    some = (
        select(push_changesets.c.changeset_id)
        .join(pushes)
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(session.mine(pushes), pushes.c.user == user, is_stored())
        .limit(most)
        .subquery()
    )
    return session.scalar(select(func.count()).select_from(some)) or 0


def check(session: Session, settings: Settings, user: str, size: int, drafts: int) -> None:
    """Raise `Refused` if a push would exceed a limit.

    The text says when ``user`` can push again, if time alone helps. The push has ``size``
    bytes, and at most ``drafts`` new drafts. Concurrent pushes do not count each other, so
    together they may exceed a limit.
    """
    if user in settings.limit_exempt:
        return
    name = hgcompat.to_bytes(user)
    now = statements.now(session)
    pushed: Sequence[_Pushed] = ()
    if settings.limit_pushes or settings.limit_burst or settings.limit_bytes:
        pushed = _pushed_since(
            session, name, now - _HOUR, max(settings.limit_pushes, settings.limit_burst)
        )
    for most, seconds, within_what in (
        (settings.limit_burst, _MINUTE, 'a minute (headless.limit-burst)'),
        (settings.limit_pushes, _HOUR, 'an hour (headless.limit-pushes)'),
    ):
        within = [date for date, _size in pushed if date > now - seconds]
        if most and len(within) >= most:
            said = f'{counted(most, "push")} within {within_what}'
            raise _refused(user, said, within[most - 1] + seconds, now)
    if settings.limit_bytes:
        _check_bytes(settings.limit_bytes, pushed, user, size, now)
    if settings.limit_drafts:
        there = _live_drafts(session, name, settings.limit_drafts + 1)
        if there + drafts > settings.limit_drafts:
            raise Refused(
                f'{user} may have {counted(settings.limit_drafts, "draft")} stored at a time '
                '(headless.limit-drafts), until some expire or are removed'
            )


def _check_bytes(most: int, pushed: Sequence[_Pushed], user: str, size: int, now: int) -> None:
    said = f'{hgcompat.to_str(util.bytecount(most))} within an hour (headless.limit-bytes)'
    if size > most:
        raise Refused(f'{user} may push {said}, and this push has more')
    total = size
    for date, size in pushed:
        total += size
        if total > most:
            raise _refused(user, said, date + _HOUR, now)


def _refused(user: str, said: str, end: int, now: int) -> Refused:
    at = time.strftime('%H:%M:%S', time.gmtime(end))
    left = max(1, end - now)
    wait = counted(left, 'second') if left <= _MINUTE else counted(-(-left // 60), 'minute')
    return Refused(f'{user} may push {said}: again at {at} UTC, in {wait}')
