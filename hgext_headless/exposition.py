"""Metrics in the format of Prometheus, by prometheus-client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from . import metrics
from .backend import Backend
from .catalog import announcements, runs
from .errors import HeadlessError
from .history import append, place as places


def registry(repo: Any, backend: Backend) -> CollectorRegistry:
    """Return a registry with the metrics of this server and of its repository."""
    made = CollectorRegistry()
    made.register(_Events(backend.settings.metrics_dir))
    made.register(_State(repo, backend))
    return made


class _Events:
    """What processes of this machine have counted: see `metrics`."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Any]:
        counts, durations = metrics.read(self._folder) if self._folder else ({}, {})
        events = CounterMetricFamily(
            'headless_events',
            'Pushes and answers, by their outcome',
            labels=['repository', 'event', 'outcome'],
        )
        for key, number in sorted(counts.items()):
            events.add_metric(key.split(' '), number)
        yield events
        seconds = HistogramMetricFamily(
            'headless_seconds',
            'Durations of the stages of pushes and answers; "total" is all of one',
            labels=['repository', 'event', 'stage'],
        )
        for key, (buckets, total) in sorted(durations.items()):
            below = 0
            cumulated = []
            for bound, number in zip((*map(str, metrics.BUCKETS), '+Inf'), buckets):
                below += number
                cumulated.append((bound, below))
            seconds.add_metric(key.split(' '), cumulated, sum_value=total)
        yield seconds


class _State:
    """What the database says now; only ``headless_up`` while it does not answer."""

    def __init__(self, repo: Any, backend: Backend) -> None:
        self._repo = repo
        self._backend = backend

    def collect(self) -> Iterator[Any]:
        up = self._gauge('headless_up', 'Whether the database answers')
        try:
            found = list(self._asked())
        except HeadlessError:
            found = []
        self._add(up, 1 if found else 0)
        yield up
        yield from found

    def _asked(self) -> Iterator[Any]:
        with self._backend.catalog.reading() as session:
            last = session.last_push_id()
            last_runs = runs.last(session)
            cursors = announcements.cursors(session)
            lag = None
            if append.is_kept(self._backend.settings):
                lag = places.lag(self._repo, session)
        pushed = self._gauge('headless_last_push_id', 'Id of the last push')
        self._add(pushed, last)
        yield pushed
        if lag is not None:
            entries = self._gauge(
                'headless_lag_entries', 'Entries of public history that this server lacks'
            )
            self._add(entries, lag.entries)
            yield entries
            seconds = self._gauge('headless_lag_seconds', 'Age of the oldest of them')
            self._add(seconds, lag.seconds)
            yield seconds
        ran = self._gauge(
            'headless_command_timestamp_seconds',
            'When a command of the operators last succeeded',
            'command',
        )
        orphans = self._gauge(
            'headless_orphans', 'Objects without a row that are too young for the last gc'
        )
        for command, last_run in sorted(last_runs.items()):
            self._add(ran, last_run.ended, command)
            if command == 'gc' and last_run.found is not None:
                self._add(orphans, last_run.found)
        yield ran
        yield orphans
        queue = self._gauge(
            'headless_announcements_pending',
            'Pushes that a target is still to be told of',
            'target',
        )
        failures = self._gauge(
            'headless_announcement_failures', 'How often the next one has failed', 'target'
        )
        for target, cursor in sorted(cursors.items()):
            self._add(queue, max(0, last - cursor.push_id), target)
            self._add(failures, cursor.failures, target)
        yield queue
        yield failures

    def _gauge(self, name: str, text: str, *labels: str) -> Any:
        return GaugeMetricFamily(name, text, labels=['repository', *labels])

    def _add(self, family: Any, value: float, *labels: str) -> None:
        family.add_metric([self._backend.settings.repository, *labels], value)
