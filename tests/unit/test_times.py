"""Times since when, as people write them."""

from __future__ import annotations

import calendar
import time

import pytest

from hgext_headless.hgweb.pushlog import times

#: A Tuesday.
NOW = calendar.timegm((2026, 12, 1, 2, 31, 10))


@pytest.fixture(autouse=True)
def _now(monkeypatch):
    monkeypatch.setattr(times.time, 'time', lambda: NOW + 0.5)
    monkeypatch.setenv('TZ', 'Asia/Tokyo')
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ('texts', 'expected'),
    [
        (('2026-12-01 02:28:51 UTC', '2026-12-01T02:28:51Z', '2026-12-01 02:28:51'), '2:28:51'),
        (('2026-12-01 11:28:51 +0900', '2026-12-01T11:28:51+09:00'), '2:28:51'),
        (('2026-12-01 11:28:51 0900', '2026-12-01T11:28:51 09:00'), '2:28:51'),
        (('2026-12-01T02:28:51.250Z', '2026-12-1 2:28:51'), '2:28:51'),
        (('2026-12-01 02', '2026-12-1 2:00'), '2:00:00'),
        (('Tue, 01 Dec 2026 02:28:51 +0000', 'Tue Dec 01 02:28:51 2026 +0000'), '2:28:51'),
        (('02:00', '2:00 UTC', '02:00:00', 'dec 1 02:00', 'since 2:00'), '2:00:00'),
        (('today 2:00', 'Tuesday 02:00 UTC', 'today at 2am'), '2:00:00'),
        (('yesterday 23:48', 'monday 11:48pm'), '30. 23:48:00'),
        (('11:00 +0900', '3:00 +01:00', '2026-12-01 03:00+01:00'), '2:00:00'),
        (('2am', '2:00 am', 'at 02:00', 'dec 1 2am'), '2:00:00'),
        (('12am', 'Dec 1 12:00am'), '0:00:00'),
        (('11:48pm',), '30. 23:48:00'),
        (('23:48',), '30. 23:48:00'),
        (('today', 'midnight', 'this morning', '2026-12-01', 'Dec 1', 'tuesday'), '0:00:00'),
        (('yesterday', 'monday', 'on Monday', 'this week', '30 nov 2026', 'Nov 30, 2026'), '30.'),
        (('30.11.2026', '30.11.', '11/30/2026', '11/30/2026 00:00 UTC', 'from monday'), '30.'),
        (('30/11/2026', '2026/11/30', 'mon', 'last Mon', 'Mon 30 Nov'), '30.'),
        (('14:00 yesterday', '2pm yesterday', 'around 14:00 on monday'), '30. 14:00:00'),
        (('yesterday around 14:00', 'Nov 30, 14:00', 'Nov 30, 2026 at 2 PM'), '30. 14:00:00'),
        (('30/11/2026 14:00', 'mon 14:00', '14:00, 2026-11-30'), '30. 14:00:00'),
        (('Fri 15:00', 'last fri 3pm'), '27. 15:00:00'),
        (('last night', 'tonight', 'yesterday at 6pm', '30.11.2026 18:00'), '30. 18:00:00'),
        (('noon', 'at noon', 'monday afternoon', 'yesterday at noon'), '30. 12:00:00'),
        (('last week', '23 november'), '23.'),
        (('last tuesday',), '24.'),
        (('the day before yesterday', 'on Sunday', 'this sunday'), '29.'),
        (('last month', '1 nov'), '1.'),
        (('last saturday', 'saturday', 'Sat, 28 Nov 2026'), '28.'),
    ],
)  # fmt: skip
def test_moments(texts, expected):
    day, _dot, clock = expected.rpartition('.')
    parts = [int(part) for part in (clock.strip() or '0:0:0').split(':')]
    wanted = calendar.timegm((2026, 11 if day else 12, int(day or 1), *parts))
    assert {text: times.span(text)[0] for text in texts} == dict.fromkeys(texts, wanted)


@pytest.mark.parametrize(
    ('texts', 'seconds'),
    [
        (('30m', '30 min', '30 minutes', '30 mins ago', 'half an hour ago', 'last 30 min'), 1800),
        (('last 2 hours', 'past 2 hours', 'around 2 hours ago', 'last 2h'), 7200),
        (('1h', '1 hr ago', 'an hour ago', 'hour ago', 'last hour', 'past hour'), 3600),
        (('1.5h', '1h30m', '1 hour 30 minutes ago', '1 hour and 30 minutes', '1h 30m ago'), 5400),
        (('4 days', '4d', 'four days ago', 'about 4 days ago', '96h'), 4 * 86400),
        (('just now', 'in the last 10 minutes'), 600),
        (('1 month ago', 'a month ago', 'past month'), 30 * 86400),
        (('1w', 'one week ago', 'past week'), 7 * 86400),
    ],
)  # fmt: skip
def test_durations(texts, seconds):
    found = {text: NOW + 0.5 - times.span(text)[0] for text in texts}
    assert found == dict.fromkeys(texts, seconds)


@pytest.mark.parametrize(
    'text',
    ['', 'x', '12', '2026', 'marker 12', 'last resort', 'this patch', '25:00', 'feb 30', 'may',
     '13pm', '0am', 'an hour', '1 nov nov', '2026-13-01', '5 monkeys', 'crash 2h', '13/13/2026',
     '2026-11/30', '14:00 bob', 'monkey', '9:00-10:00', '2026-11-30 14:00-15:00', '14:00 14:00',
     'before friday', 'last week afternoon', 'monday 3pm evening', 'morning', 'in 2 hours'],
)  # fmt: skip
def test_what_is_no_time(text):
    with pytest.raises(ValueError):
        times.span(text)


@pytest.mark.parametrize(
    ('texts', 'expected'),
    [
        (('30m', '30 minutes ago', '2026-12-01 02:01:10'), -1800),
        (('1 hour ago', '1 hour'), -3600),
        (('now', '2 hours from now', 'tomorrow at 2:31:10'), None),
        (('eod', 'today at 5pm', '12/1/26 17:00 GMT'), 14 * 3600 + 28 * 60 + 50),
        (('2 days from now', 'thursday at 2:31:10 am'), 2 * 86400),
        (('yesterday', 'monday', '30 nov'), -86400 - 2 * 3600 - 31 * 60 - 10),
        (('7 days ago', '1 week ago'), -7 * 86400),
    ],
)  # fmt: skip
def test_dates(texts, expected):
    found = {text: round(times.seconds(text) - NOW - 0.25) for text in texts}
    if expected is None:
        assert found == {'now': 0, '2 hours from now': 7200, 'tomorrow at 2:31:10': 86400}
    else:
        assert found == dict.fromkeys(texts, expected)


@pytest.mark.parametrize(
    'text',
    ['2026-11-30 12:00 CET', '12:00 EST', '1 week from now PST', 'foo tomorrow at noon',
     '11/30/26 10:00 +0100', '2026-11-30 12:00 UTC+1', '2026-11-30 25:00', 'yesterday 24:00',
     'tomorrow at 10:75', '2026-11-30T24:00', '31.11.'],
)  # fmt: skip
def test_what_is_no_date(text):
    """A word is not ignored: the date would be another one."""
    with pytest.raises(ValueError):
        times.seconds(text)


@pytest.mark.parametrize(
    ('texts', 'hours'),
    [
        (('yesterday', 'monday', 'last friday', 'Nov 30', '2026-11-30', '30.11.2026', 'today'), 24),
        (('yesterday morning', 'this morning', 'monday morning', '2026-11-30 morning'), 12),
        (('yesterday afternoon', 'on monday in the afternoon', 'last evening'), 6),
        (('last night', 'friday night'), 12),
        (('since monday', 'since yesterday morning', 'monday 3pm', '2026-11-30 15:00', '2h'), None),
        (('an hour ago', 'last week', 'this week', 'last 2 days', 'tonight', 'noon'), None),
    ],
)  # fmt: skip
def test_spans(texts, hours):
    """A day ends, as that of "hg log -d" does."""
    spans = {text: times.span(text) for text in texts}
    found = {text: end and (end - begin) / 3600 for text, (begin, end) in spans.items()}
    assert found == dict.fromkeys(texts, hours)


def test_apart():
    said = '1 hour 30 minutes ago'
    assert times.apart('bob 2h') == (NOW + 0.5 - 7200, None, '2h', 'bob')
    assert times.apart(f'{said} crash in Foo') == (NOW + 0.5 - 5400, None, said, 'crash in Foo')
    said = 'since 2026-12-01 02:00:00 UTC'
    assert times.apart(f'crash {said}') == (NOW - 1870, None, said, 'crash')
    assert times.apart('crash in foo') is None
    assert times.apart('') is None
    # Hashes.
    assert times.apart('344d92d') is times.apart('123456d') is None
    assert times.apart('344d') == (NOW + 0.5 - 344 * 86400, None, '344d', '')


@pytest.mark.parametrize(
    ('text', 'shown', 'since_then'),
    [
        ('Yesterday by bob', 'on 2026-11-30 UTC', 'since yesterday bob'),
        ('bob on friday', 'on 2026-11-27 UTC', 'since friday bob'),
        ('last night', 'on 2026-11-30 from 18:00 to 06:00 UTC', 'since last night'),
        ('2:00', 'since 2026-12-01 02:00:00 UTC', 'since 2:00'),
    ],
)
def test_how_it_is_shown(text, shown, since_then):
    said = times.apart(text)
    assert said is not None
    assert (str(said), said.since_then) == (shown, since_then)
