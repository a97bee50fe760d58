"""Write totals for the textfile collector of Prometheus' node exporter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from .. import exposition
from ..backend import Backend
from ..catalog.statistics import Totals
from ..errors import Refused

#: Name (without the counters' ``_total``), help text, and field of `Totals`.
_COUNTERS = (
    ('headless_pushes', 'Pushes that were recorded', 'pushes'),
    ('headless_changesets', 'Changesets that pushes brought', 'changesets'),
)
_GAUGES = (
    ('headless_drafts', 'Drafts that are stored', 'drafts'),
    ('headless_tombstones', 'Changesets that pushes brought and that are gone', 'tombstones'),
    ('headless_bundles', 'Bundles that are stored', 'bundles'),
    ('headless_bundles_size_bytes', 'Size of all bundles', 'bytes'),
    ('headless_bookmarks', 'Bookmarks of drafts', 'bookmarks'),
    ('headless_markers', 'Obsolescence markers of drafts', 'markers'),
    ('headless_last_push_timestamp_seconds', 'When the last push was recorded', 'last_push'),
    (
        'headless_oldest_bundle_timestamp_seconds',
        'When the oldest bundle was stored',
        'oldest_bundle',
    ),
)


class _Collector:
    def __init__(self, repository: str, totals: Totals) -> None:
        self._repository = repository
        self._totals = totals

    def collect(self) -> Iterator[Any]:
        for kind, table in ((CounterMetricFamily, _COUNTERS), (GaugeMetricFamily, _GAUGES)):
            for name, text, field in table:
                metric = kind(name, text, labels=['repository'])
                value = getattr(self._totals, field)
                if value is not None:
                    metric.add_metric([self._repository], value)
                yield metric


def write(path: str, repo: Any, backend: Backend, totals: Totals) -> None:
    """Write totals and all of `exposition` to a file, atomically.

    Raise `Refused` if it cannot be written.
    """
    registry = exposition.registry(repo, backend)
    registry.register(_Collector(backend.settings.repository, totals))
    try:
        write_to_textfile(path, registry)
    except OSError as exc:
        shown = path.encode('utf-8', 'backslashreplace').decode('utf-8')
        raise Refused(f'--prometheus: {shown} cannot be written: {exc.strerror}') from exc
