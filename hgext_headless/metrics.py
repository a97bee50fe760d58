"""Counts and durations of pushes and answers, kept in a file for Prometheus.

Any number of processes write to it, also those that live as long as one push over ssh: so not
prometheus-client's multi-process mode, which keeps files for each process that ever ran.
"""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

#: Upper bounds of the histograms' buckets, in seconds.
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_FILE = 'metrics.json'

#: By the values of the labels, joined by a blank: a number.
Counts = dict[str, int]
#: By the values of the labels: the number in each bucket and above, and the sum in seconds.
Durations = dict[str, tuple[list[int], float]]


def observe(
    folder: str, repository: str, event: str, outcome: str, seconds: Mapping[str, float]
) -> None:
    """Count an event, and add the ``seconds`` of its stages (``total`` for all of it).

    Where the file cannot be written, nothing is counted.
    """
    with contextlib.suppress(OSError), _locked(folder):
        counts, durations = read(folder)
        key = f'{repository} {event} {outcome}'
        counts[key] = counts.get(key, 0) + 1
        for stage, duration in seconds.items():
            key = f'{repository} {event} {stage}'
            buckets, total = durations.get(key) or ([0] * (len(BUCKETS) + 1), 0.0)
            buckets[bisect.bisect_left(BUCKETS, duration)] += 1
            durations[key] = buckets, total + duration
        path = os.path.join(folder, f'{_FILE}.{os.getpid()}')
        with open(path, 'w', encoding='ascii') as file:
            json.dump({'counts': counts, 'durations': durations}, file)
        os.replace(path, os.path.join(folder, _FILE))


def read(folder: str) -> tuple[Counts, Durations]:
    """Return all that was observed; nothing if the file is missing or of another version."""
    try:
        with open(os.path.join(folder, _FILE), encoding='ascii') as file:
            found: dict[str, Any] = json.load(file)
        durations = {
            key: (list(buckets), float(total))
            for key, (buckets, total) in found['durations'].items()
            if len(buckets) == len(BUCKETS) + 1
        }
        return dict(found['counts']), durations
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    # The folder itself: a lock file would belong to the user who was first.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
