"""``admin::headless-stats``: how much is pushed, by whom, and how much is stored."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mercurial import pycompat, util

from .. import hgcompat, metrics
from ..backend import Backend
from ..catalog import statistics
from ..catalog.statistics import DAY, Ages, Totals
from ..errors import Refused
from . import options

#: Number of users listed.
_USERS = 20
#: Ages that are usual for ``headless-expire --older-than``.
_AGES = (b'1d', b'7d', b'30d', b'90d', b'365d')
_MAX_DAYS = 36500


class _Statistics(NamedTuple):
    totals: Totals
    days: Sequence[Any]
    users: Sequence[Any]
    ages: list[Ages]
    repositories: Sequence[Any]


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    days, path = opts['days'], opts['prometheus']
    if not 1 <= days <= _MAX_DAYS:
        raise Refused(f'--days takes a number from 1 to {_MAX_DAYS}, not {days}')
    client = metrics.client() if path else None
    now = int(time.time())
    since = (now // DAY - days + 1) * DAY
    read = backend.catalog.read
    found = _Statistics(
        read(statistics.totals),
        read(statistics.by_day, since),
        read(statistics.by_user, since, _USERS),
        read(statistics.by_age, now, [options.age('', age) for age in _AGES]),
        read(statistics.by_repository),
    )
    if path:
        _write_metrics(client, os.fsdecode(path), repo, backend, found.totals)
    with ui.formatter(b'headless-stats', pycompat.byteskwargs(opts)) as fm:
        if not fm.isplain():
            _data(fm, found)
        elif not path or ui.verbose:
            _plain(fm, found, now, days)
    return 0


def _write_metrics(client: Any, path: str, repo: Any, backend: Backend, totals: Totals) -> None:
    """Write a file for the textfile collector of Prometheus' node exporter, atomically."""
    try:
        client.write_to_textfile(path, metrics.registry(repo, backend, totals))
    except OSError as exc:
        shown = path.encode('utf-8', 'backslashreplace').decode('utf-8')
        raise Refused(f'--prometheus: {shown} cannot be written: {exc.strerror}') from exc


def _date(day: int) -> bytes:
    return time.strftime('%Y-%m-%d', time.gmtime(day * DAY)).encode('ascii')


def _bounds() -> list[tuple[bytes | None, bytes | None]]:
    """Return for each group of `statistics.by_age`: older than, younger than."""
    return list(zip((None, *_AGES), (*_AGES, None)))


def _data(fm: Any, found: _Statistics) -> None:
    fm.startitem()
    totals = {hgcompat.to_bytes(name): value for name, value in found.totals._asdict().items()}
    fm.data(totals=fm.formatdict(totals))
    _nested(fm, b'days', ({**day._asdict(), 'day': _date(day.day)} for day in found.days))
    _nested(fm, b'users', (user._asdict() for user in found.users))
    ages = (
        {'older_than': older, 'younger_than': younger, **ages._asdict()}
        for (older, younger), ages in zip(_bounds(), found.ages)
    )
    _nested(fm, b'ages', ages)
    repositories = ({**r._asdict(), 'name': hgcompat.to_bytes(r.name)} for r in found.repositories)
    _nested(fm, b'repositories', repositories)


def _nested(fm: Any, name: bytes, items: Iterable[dict[str, Any]]) -> None:
    with fm.nested(name) as nested:
        for item in items:
            nested.startitem()
            nested.data(**item)


def _plain(fm: Any, found: _Statistics, now: int, days: int) -> None:
    totals = found.totals
    size = util.bytecount
    rows: list[Sequence[bytes]] = [
        (b'pushes', b'%d' % totals.pushes),
        (b'last push id', b'%d' % totals.last_push_id),
        (b'changesets pushed', b'%d' % totals.changesets),
        (b'of them gone', b'%d' % totals.tombstones),
        (b'drafts stored', b'%d' % totals.drafts),
        (b'bundles', b'%d' % totals.bundles),
        (b'size of bundles', size(totals.bytes)),
        (b'bookmarks', b'%d' % totals.bookmarks),
        (b'markers', b'%d' % totals.markers),
    ]
    for name, date in (
        (b'first push', totals.first_push),
        (b'last push', totals.last_push),
        (b'oldest bundle', totals.oldest_bundle),
        (b'newest bundle', totals.newest_bundle),
    ):
        if date is not None:
            age = options.number(max(0, now - date) // DAY, 'day')
            rows.append((name, b'%s, %s ago' % (_date(date // DAY), age)))
    _table(fm, b'', (), rows)
    lately = options.number(days, 'day') if days > 1 else b'day'
    _table(
        fm,
        b'the last %s (UTC)' % lately,
        (b'day', b'pushes', b'changesets', b'bundles', b'stored'),
        [
            (_date(e.day), b'%d' % e.pushes, b'%d' % e.changesets, b'%d' % e.bundles, size(e.bytes))
            for e in found.days
        ],
    )
    _table(
        fm,
        b'users who pushed most in the last %s' % lately,
        (b'user', b'pushes', b'changesets'),
        [
            (hgcompat.escaped_bytes(u.user), b'%d' % u.pushes, b'%d' % u.changesets)
            for u in found.users
        ],
    )
    _table(
        fm,
        b'age of bundles',
        (b'older than', b'younger than', b'bundles', b'size'),
        [
            (older or b'-', younger or b'-', b'%d' % ages.bundles, size(ages.bytes))
            for (older, younger), ages in zip(_bounds(), found.ages)
        ],
    )
    if len(found.repositories) > 1:
        _table(
            fm,
            b'repositories of the database',
            (b'name', b'last push id', b'last push', b'objects', b'size'),
            [
                (
                    hgcompat.to_bytes(r.name),
                    b'%d' % r.last_push_id,
                    b'never' if r.last_push is None else _date(r.last_push // DAY),
                    b'%d' % r.objects,
                    size(r.bytes),
                )
                for r in found.repositories
            ],
        )


def _table(fm: Any, title: bytes, header: Sequence[bytes], rows: Sequence[Sequence[bytes]]) -> None:
    """Write rows in columns, the first left-aligned, the others right-aligned.

    Write nothing without rows.
    """
    if not rows:
        return
    if title:
        fm.plain(b'\n%s:\n' % title)
    lines = [header, *rows] if header else rows
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        first, *others = (
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths))
        )
        fm.plain(b'  '.join([first, *others]) + b'\n')
