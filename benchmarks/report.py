"""The figures, and the table of them beside the goals."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

from helpers.world import HG
from measuring import Used

#: Digits after the point.
_DIGITS = {
    'wall s': 3,
    'client CPU s': 3,
    'server CPU s': 3,
    'server peak MB': 0,
    'server share MB': 0,
    'bytes up': 0,
    'bytes down': 0,
    'peak MB': 0,
    'RSS after MB': 0,
    'pages a second': 2,
    'pushes a second': 2,
}
_RATES = ('pages a second', 'pushes a second')
_PUSHES = ('push of 1', 'growth by 3')
#: What 1,000,000 stored drafts may cost, in any figure.
_STORED = 1.05


class Key(NamedTuple):
    """What is measured, over what, and in which respect."""

    operation: str
    transport: str
    measure: str


class Run(NamedTuple):
    """What the goals depend on: ``small`` is a history of few changesets."""

    services: bool
    rtt: bool
    chg: bool
    small: bool


def goal(key: Key, run: Run) -> float | None:
    """The ratio of ours to stock to reach: at most, of rates at least; None without one."""
    http = key.transport == 'http'
    if key.measure == 'pushes a second':
        return 1.0 if http or run.chg else 0.6 if run.services else 0.8
    if key.measure in ('RSS after MB', 'peak MB'):
        return 1.5
    if key.measure == 'server share MB':
        return 1.3 if run.chg and run.services else 1.6 if run.services else 1.4
    if key.transport == 'pages':
        kind, which = key.operation.split(', ')
        goals = {'first': 2.5, 'later': 2.5 if kind == 'raw-rev' else 1.5}
        return goals[which] if key.measure == 'wall s' else None
    if key.operation in _PUSHES and key.measure == 'client CPU s':
        return 1.05
    if key.measure != 'wall s':
        return None
    if key.operation in _PUSHES:
        if http:
            return 1.2 if run.services else 1.1
        if run.chg:
            return 1.3 if run.services else 1.2
        if run.rtt:
            return 1.1 if run.services else 1.05
        return 1.45 if run.services else 1.25
    if key.operation in ('identify -r', 'pull -r') and not http and run.rtt:
        return 1.15 if run.services else 1.1
    if run.small:
        return 1.15 if http else 1.25
    return {
        ('pull -r', 'http'): 0.6,
        ('pull -r', 'ssh'): 1.4,
        ('identify -r', 'http'): 1.0,
    }.get((key.operation, key.transport))


class Figures:
    """Values by key and variant, in the order in which they came."""

    def __init__(self) -> None:
        self.values: dict[Key, dict[str, list[float]]] = {}

    def _add(self, key: Key, variant: str, value: float) -> None:
        self.values.setdefault(key, {}).setdefault(variant, []).append(value)

    def add(
        self, operation: str, transport: str, variant: str, used: Used, counted: bool = False
    ) -> None:
        """An operation; of one whose bytes were ``counted`` nothing else is taken."""
        measured = {
            'wall s': used.wall,
            'client CPU s': used.client_cpu,
            'server CPU s': used.server_cpu,
            'server peak MB': used.server_memory,
        }
        sizes: dict[str, float] = {'bytes up': used.bytes_up, 'bytes down': used.bytes_down}
        if transport == 'ssh':
            sizes['server share MB'] = used.server_share
        if transport == 'pages':
            del measured['client CPU s'], sizes['bytes up']
            measured.update(sizes)
        for measure, value in (sizes if counted else measured).items():
            self._add(Key(operation, transport, measure), variant, value)

    def add_rate(self, transport: str, variant: str, rate: float) -> None:
        self._add(Key('8 clients at once', transport, 'pushes a second'), variant, rate)

    def add_many(self, variant: str, after: float, peak: float, rate: float) -> None:
        for measure, value in (
            ('RSS after MB', after),
            ('peak MB', peak),
            ('pages a second', rate),
        ):
            self._add(Key('many drafts', 'pages', measure), variant, value)


def _cell(measure: str, values: list[float]) -> str:
    digits = _DIGITS[measure]
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1:
        return f'{middle:,.{digits}f}'
    return f'{middle:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})'


def _ratio(
    key: Key, values: dict[str, list[float]], one: str, other: str, wanted: float | None
) -> tuple[str, bool]:
    """Ratio and goal, and whether the goal is missed; marked where it is."""
    if not values.get(one) or not values.get(other):
        return f'{"":13}', False
    below = statistics.median(values[other])
    ratio = statistics.median(values[one]) / below if below else 1.0
    rounded = round(ratio, 2)
    missed = wanted is not None and (
        rounded < wanted if key.measure in _RATES else rounded > wanted
    )
    shown = '' if wanted is None else f'{wanted:.2f}'
    return f'{ratio:6.2f} {shown:>4}{"*" if missed else " "} ', missed


def table(figures: Figures, run: Run) -> Iterator[str]:
    """The lines of the table, a figure each; the last one counts the goals."""
    yield (
        f'{"":19}{"":6}{"":16}{"stock":>21}{"heads":>21}{"ours":>21}'
        f'{"/stock":>7} goal {"stored":>22}{"/ours":>7} goal'
    )
    asked, missed, before = 0, 0, ''
    for key, values in figures.values.items():
        cells = {
            variant: _cell(key.measure, values[variant]) if variant in values else ''
            for variant in ('stock', 'heads', 'ours', 'stored')
        }
        wanted = goal(key, run)
        base = 'stock' if 'stock' in values else 'heads'
        stored_goal = round(1 / _STORED, 2) if key.measure in _RATES else _STORED
        ours, ours_missed = _ratio(key, values, 'ours', base, wanted)
        stored, stored_missed = _ratio(key, values, 'stored', 'ours', stored_goal)
        missed += ours_missed + stored_missed
        asked += (wanted is not None) + bool(stored.strip())
        group = f'{key.operation:19}{key.transport:6}'
        yield (
            f'{group if group != before else "":25}{key.measure:16}'
            f'{cells["stock"]:>21}{cells["heads"]:>21}{cells["ours"]:>21} {ours}'
            f'{cells["stored"]:>21} {stored}'
        ).rstrip()
        before = group
        if key.measure == 'pushes a second':
            heads, heads_missed = _ratio(key, values, 'ours', 'heads', 1.0)
            missed, asked = missed + heads_missed, asked + 1
            yield f'{"":25}{"  ours to heads":79} {heads}'.rstrip()
    yield f'{asked} goals, {missed} missed (*)'


def machine() -> str:
    version = subprocess.run([HG, 'version', '-q'], capture_output=True, text=True, check=True)
    return (
        f'{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} '
        f'{platform.release()}; {version.stdout.strip()}'
    )


def load() -> str:
    return 'load ' + ' '.join(f'{value:.2f}' for value in os.getloadavg())
