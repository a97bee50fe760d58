"""Metrics in Prometheus' text format. All of them are the database's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from . import hgcompat, place as places
from .backend import Backend
from .catalog import announcements, diagnosis, pushlog, statistics
from .errors import HeadlessError

CONTENT_TYPE = b'text/plain; version=0.0.4; charset=utf-8'

#: Name, help text, and field of `statistics.Totals`: counting them reads whole tables.
_TOTALS = (
    ('drafts', 'Drafts that are stored', 'drafts'),
    ('tombstones', 'Changesets that pushes brought and that are gone', 'tombstones'),
    ('bundles', 'Bundles that are stored', 'bundles'),
    ('bundles_size_bytes', 'Size of all bundles', 'bytes'),
    ('bookmarks', 'Bookmarks of drafts', 'bookmarks'),
    ('markers', 'Obsolescence markers of drafts', 'markers'),
    ('last_push_timestamp_seconds', 'When the last push was recorded', 'last_push'),
    ('oldest_bundle_timestamp_seconds', 'When the oldest bundle was stored', 'oldest_bundle'),
)


class _Metric(NamedTuple):
    """``values`` are numbers or, where there is a ``label``, pairs of a number and its text.

    None is not shown. A counter's name ends with ``_total``.
    """

    name: str
    text: str
    values: Iterable[Any]
    label: str = ''


def text(repo: Any, backend: Backend, totals: statistics.Totals | None = None) -> bytes:
    """Return the metrics of a repository, with ``totals`` if they are given.

    These are ``headless_up`` alone while the database does not answer.
    """
    try:
        found = list(_asked(repo, backend, totals))
    except HeadlessError:
        found = []
    up = _Metric('up', 'Whether the database answers', [bool(found)])
    of_repository = f'repository="{backend.settings.repository}"'
    lines: list[str] = []
    for name, about, values, label in (up, *found):
        kind = 'counter' if name.endswith('_total') else 'gauge'
        lines += [f'# HELP headless_{name} {about}', f'# TYPE headless_{name} {kind}']
        for value in values:
            value, of_label = value if label else (value, '')
            labels = f'{label}="{_escaped(of_label)}",{of_repository}' if label else of_repository
            if value is not None:
                lines.append(f'headless_{name}{{{labels}}} {float(value)}')
    return hgcompat.to_bytes('\n'.join(lines) + '\n')


def _escaped(label: str) -> str:
    return label.replace('\\', r'\\').replace('"', r'\"').replace('\n', r'\n')


def _asked(repo: Any, backend: Backend, totals: statistics.Totals | None) -> Iterator[_Metric]:
    catalog = backend.catalog
    memory = catalog.memory('pushed')
    lag = None
    with catalog.reading() as session:
        last = pushlog.last_push_id(session)
        pushed = statistics.pushed(session, memory.get('pushed'))
        runs = sorted(diagnosis.runs_of_commands(session).items())
        cursors = announcements.cursors(session).values()
        behind = [announcements.behind(session, cursor, last) for cursor in cursors]
        if places.has_log(backend.settings):
            lag = places.lag(repo, session)
    memory['pushed'] = pushed
    yield _Metric('pushes_total', 'Pushes that were recorded', [pushed.pushes])
    yield _Metric('changesets_total', 'Changesets that pushes brought', [pushed.changesets])
    yield _Metric('pushes_size_bytes_total', 'Size of the pushes, decompressed', [pushed.bytes])
    yield _Metric(
        'pushes_seconds_total', 'What the pushes took until they were recorded', [pushed.seconds]
    )
    yield _Metric('last_push_id', 'Id of the last push', [last])
    if lag is not None:
        yield _Metric(
            'lag_entries', 'Entries of public history that this server lacks', [lag.entries]
        )
        yield _Metric('lag_seconds', 'Age of the oldest of them', [lag.seconds])
    yield _Metric(
        'command_timestamp_seconds',
        'When a command of the operators last succeeded',
        [(run.ended, command) for command, run in runs],
        'command',
    )
    yield _Metric(
        'orphans',
        'Objects without a row that are too young for the last gc',
        [run.found for command, run in runs if command == 'gc'],
    )
    yield _Metric(
        'announcements_pending',
        'Pushes that a target is still to be told of',
        [(number, cursor.target) for number, cursor in zip(behind, cursors)],
        'target',
    )
    yield _Metric(
        'announcement_failures',
        'How often the next one has failed',
        [(cursor.failures, cursor.target) for cursor in cursors],
        'target',
    )
    for name, about, field in _TOTALS if totals is not None else ():
        yield _Metric(name, about, [getattr(totals, field)])
