"""Metrics in the format of Prometheus, by prometheus-client. All of them are the database's."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from . import place as places
from .backend import Backend
from .catalog import announcements, diagnosis, pushlog, statistics
from .errors import HeadlessError, Misconfigured

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


def client() -> Any:
    """Return the package that is needed here. Raise `Misconfigured` if it is not installed."""
    try:
        return importlib.import_module('prometheus_client')
    except ImportError as exc:
        raise Misconfigured(
            'metrics need a package: pip install hgext-headless[prometheus]'
        ) from exc


def registry(repo: Any, backend: Backend, totals: statistics.Totals | None = None) -> Any:
    """Return a registry with the metrics of a repository, and with ``totals`` if they are given.

    It has only ``headless_up`` while the database does not answer.
    """
    made = client().CollectorRegistry()
    made.register(_Collector(repo, backend, totals))
    return made


class _Collector(NamedTuple):
    repo: Any
    backend: Backend
    totals: statistics.Totals | None

    def collect(self) -> Iterator[Any]:
        try:
            found = list(self._asked())
        except HeadlessError:
            found = []
        yield self._gauge('up', 'Whether the database answers', (bool(found),))
        yield from found

    def _asked(self) -> Iterator[Any]:
        catalog = self.backend.catalog
        memory = catalog.memory('pushed')
        with catalog.reading() as session:
            last = pushlog.last_push_id(session)
            pushed = statistics.pushed(session, memory.get('pushed'))
            last_runs = diagnosis.runs_of_commands(session)
            cursors = announcements.cursors(session, last).values()
            lag = None
            if places.has_log(self.backend.settings):
                lag = places.lag(self.repo, session)
        memory['pushed'] = pushed
        yield self._counter('pushes', 'Pushes that were recorded', pushed.pushes)
        yield self._counter('changesets', 'Changesets that pushes brought', pushed.changesets)
        yield self._counter('pushes_size_bytes', 'Size of the pushes, decompressed', pushed.bytes)
        yield self._counter(
            'pushes_seconds', 'What the pushes took until they were recorded', pushed.seconds
        )
        yield self._gauge('last_push_id', 'Id of the last push', (last,))
        if lag is not None:
            yield self._gauge(
                'lag_entries', 'Entries of public history that this server lacks', (lag.entries,)
            )
            yield self._gauge('lag_seconds', 'Age of the oldest of them', (lag.seconds,))
        yield self._gauge(
            'command_timestamp_seconds',
            'When a command of the operators last succeeded',
            *((run.ended, command) for command, run in sorted(last_runs.items())),
            label='command',
        )
        gc = last_runs.get('gc')
        yield self._gauge(
            'orphans',
            'Objects without a row that are too young for the last gc',
            *([(gc.found,)] if gc is not None and gc.found is not None else []),
        )
        yield self._gauge(
            'announcements_pending',
            'Pushes that a target is still to be told of',
            *((cursor.behind, cursor.target) for cursor in cursors),
            label='target',
        )
        yield self._gauge(
            'announcement_failures',
            'How often the next one has failed',
            *((cursor.failures, cursor.target) for cursor in cursors),
            label='target',
        )
        for name, text, field in _TOTALS if self.totals is not None else ():
            value = getattr(self.totals, field)
            yield self._gauge(name, text, *([(value,)] if value is not None else []))

    def _counter(self, name: str, text: str, value: float) -> Any:
        from prometheus_client.core import CounterMetricFamily

        made = CounterMetricFamily(f'headless_{name}', text, labels=['repository'])
        made.add_metric([self.backend.settings.repository], value)
        return made

    def _gauge(
        self, name: str, text: str, *values: tuple[Any, ...], label: str | None = None
    ) -> Any:
        """Return a gauge with ``values``: each is a number and, with a ``label``, its text."""
        labels = ['repository'] if label is None else ['repository', label]
        from prometheus_client.core import GaugeMetricFamily

        made = GaugeMetricFamily(f'headless_{name}', text, labels=labels)
        for value, *of_label in values:
            made.add_metric([self.backend.settings.repository, *of_label], value)
        return made
