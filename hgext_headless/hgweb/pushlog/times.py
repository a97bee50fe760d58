"""Times as people and programs write them."""

from __future__ import annotations

import calendar
import contextlib
import re
import time
from typing import NamedTuple

_DAYS = ('mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun')
_MONTHS = ('jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec')
_DAY = 86400
#: Seconds of a unit, by its first letter; a month and a year have letters of their own here.
_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': _DAY, 'w': 7 * _DAY, 'M': 30 * _DAY, 'y': 365 * _DAY}
_UNIT = r'(?:s|m|h|d|w|secs?|seconds?|mins?|minutes?|hrs?|hours?|days?|weeks?|months?|years?)'
_PART = re.compile(rf'([0-9]{{1,6}}(?:\.[0-9]{{1,3}})?) ?({_UNIT})(?![a-z])(?: and|,)? ?')
#: Days are also hexadecimal digits: six are rather those of a hash.
_LASTING = re.compile(rf'(?![0-9a-f]{{6,}}$)(?:{_PART.pattern})+(?:ago)?')
_NUMBERS = {'half a': '0.5', 'half an': '0.5', 'a few': '3', 'few': '3', 'an': '1', 'a': '1'}
_COUNTED = ('one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten')
_NUMBERS.update((word, str(number)) for number, word in enumerate(_COUNTED, 1))
_NUMBER = re.compile(rf'^(?:({"|".join(_NUMBERS)}) )?(?={_UNIT} ago)')
#: Half of the day.
_HALF = re.compile(r'(?<![0-9:])(1?[0-9])(:[0-9]{2})? ?([ap])m\b')
_PERIOD = re.compile(rf'(last|this|past) ({_UNIT})')
#: Parts of a day: the hours at which they begin and end.
_PARTS = {'morning': (0, 12), 'afternoon': (12, 18), 'evening': (18, 24), 'night': (18, 30)}
_PART_OF_DAY = re.compile(rf'(.+?) (?:in the )?({"|".join(_PARTS)})')
_WORDS_FOR = {'noon': '12:00', 'midnight': '0:00', 'tonight': '18:00', 'just now': '10 minutes'}
_WORD_FOR = re.compile(rf'\b({"|".join(_WORDS_FOR)})$')
_CLOCK = r'(?P<clock>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)'
_ZONE = r'(?: ?(?:z|utc|gmt|(?P<zone>[+-](?:0[0-9]|1[0-4]):?[0-5][0-9])))?'
#: In a URL, a plus that is not escaped is a blank.
_ZONE_IN_URL = _ZONE.replace('[+-]', '(?:[+-]|(?<=:[0-9]{2}) )')
_MONTH = '|'.join(
    f'{name}(?:{whole.lower()[3:]})?' for name, whole in zip(_MONTHS, calendar.month_name[1:])
)
_WEEKDAY = rf'(?:(?:{"|".join(_DAYS)})[a-z]*,? )?'
_DAY_NAME = '|'.join(
    f'{name}(?:{whole.lower()[3:]})?' for name, whole in zip(_DAYS, calendar.day_name)
)
#: A date, a time of day, or both: as pages and ``hg log`` have them, and others.
_MOMENTS = (
    re.compile(
        r'(?P<year>[0-9]{4})(?P<dash>[-/])(?P<number>[0-9]{1,2})(?P=dash)(?P<day>[0-9]{1,2})'
        rf'(?:[ t](?P<clock>[0-9]{{1,2}}(?::[0-9]{{2}}){{0,2}})(?:\.[0-9]{{1,9}})?)?{_ZONE_IN_URL}'
    ),
    re.compile(
        r'(?P<day>[0-9]{1,2})\.(?P<number>[0-9]{1,2})\.(?P<year>[0-9]{4})?'
        rf'(?: {_CLOCK})?{_ZONE}'
    ),
    # As Mercurial reads it.
    re.compile(
        r'(?P<number>0?[1-9]|1[0-2])/(?P<day>[0-9]{1,2})/(?P<year>[0-9]{4})'
        rf'(?: {_CLOCK})?{_ZONE}'
    ),
    re.compile(
        r'(?P<day>1[3-9]|[23][0-9])/(?P<number>[0-9]{1,2})/(?P<year>[0-9]{4})'
        rf'(?: {_CLOCK})?{_ZONE}'
    ),
    # Without a blank, it may be a span.
    re.compile(_CLOCK + _ZONE.replace('(?P<zone>', '(?<= )(?P<zone>')),
    re.compile(
        rf'{_WEEKDAY}(?P<month>{_MONTH}) (?P<day>[0-9]{{1,2}})(?:,? (?P<year>[0-9]{{4}}))?'
        rf'(?: {_CLOCK})?(?: (?P<later>[0-9]{{4}}))?{_ZONE}'
    ),
    re.compile(
        rf'{_WEEKDAY}(?P<day>[0-9]{{1,2}}) (?P<month>{_MONTH})(?: (?P<year>[0-9]{{4}}))?'
        rf'(?: {_CLOCK})?{_ZONE}'
    ),
)
_NAMED_DAY = re.compile(
    rf'(?P<name>today|yesterday|day before yesterday|(?:(?:last|this|past) )?(?:{_DAY_NAME}))'
    rf'(?: {_CLOCK}(?: ?(?:z|utc|gmt))?)?(?P<zone>)'
)
#: A time of day as people say it before a day, and behind it.
_CLOCK_FIRST = re.compile(rf'^({_CLOCK}),? (?:on )?(?!z$|utc|gmt|[+-])(.+)')
_BEFORE_CLOCK = re.compile(',? (?:(?:at|about|around) )*(?=[0-9]{1,2}:[0-9])')
#: What people say before a time, and before a name.
BEFORE_NAMES = re.compile('^(?:(?:(?:pushed )?by|on|from|in|at) )+(?=.)', re.I)
_BEFORE = re.compile('(?:(?:since|on|from|at|in the|the) )*(?:about |around )?')
#: Maximum number of words of a time.
_WORDS = 7
#: No time of day: `parsedatetime` takes the date alone.
_NO_CLOCK = re.compile(r'(?<![0-9:])(?:2[4-9]|[3-9][0-9]):[0-9]|[0-9]:[6-9][0-9]')
#: What `parsedatetime` leaves of a date that it understands.
_LEFT = {'now', 'eod', 'eom', 'eoy', 'at', 'on', 'in', 'the', 'and', 'z', 'utc', 'gmt'}
#: Longer text is not a date, and a library needs long to reject it.
_MAX_LENGTH = 100


def shown(moment: float) -> str:
    """Return a time as pages show it."""
    return time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(moment))


class Said(NamedTuple):
    """A time in a text: it begins at ``since``, and ends at ``before`` if it is in one day.

    ``text`` says it, and ``rest`` is what else the whole text has.
    """

    since: float
    before: float | None
    text: str
    rest: str

    def __str__(self) -> str:
        """Return the time as pages show times."""
        begins = time.gmtime(self.since)
        if self.before is None:
            return f'since {shown(self.since)}'
        if self.before - self.since == _DAY:
            return time.strftime('on %Y-%m-%d UTC', begins)
        ends = time.strftime('%H:%M UTC', time.gmtime(self.before))
        return f'{time.strftime("on %Y-%m-%d from %H:%M", begins)} to {ends}'

    @property
    def since_then(self) -> str:
        """What to search for from its beginning on."""
        return f'since {_BEFORE.sub("", self.text.lower(), count=1)} {self.rest}'.strip()


def apart(text: str) -> Said | None:
    """Return the time at one end of a text; None if there is none."""
    words = text.split()
    for length in range(min(len(words), _WORDS), 0, -1):
        for said, rest in (
            (words[-length:], words[:-length]),
            (words[:length], words[length:]),
        ):
            with contextlib.suppress(ValueError):
                ends = span(' '.join(said))
                return Said(*ends, ' '.join(said), BEFORE_NAMES.sub('', ' '.join(rest)))
    return None


def span(text: str) -> tuple[float, float | None]:
    """Return when the time begins that people mean, and when it ends, in seconds since the epoch.

    A day, or a part of one, ends; other times, and "since" a day, do not. Times of day, and days,
    are in the time zone of pages, UTC. Raise `ValueError`.
    """
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"not a time: '{text[:_MAX_LENGTH]}'")
    said = ' '.join(text.lower().split())
    bare = re.sub('^(?:last|past) (?=[0-9])', '', _BEFORE.sub('', said, count=1))
    bare = _WORD_FOR.sub(lambda found: _WORDS_FOR[found[1]], _HALF.sub(_of_day, bare))
    bare = _CLOCK_FIRST.sub(r'\3 \1', _BEFORE_CLOCK.sub(' ', bare))
    part = _PART_OF_DAY.fullmatch(bare)
    if part:
        bare = {'this': 'today', 'last': 'yesterday'}.get(part[1], part[1])
    begins, is_day = _begins(bare, time.time())
    first, end = _PARTS[part[2]] if part else (0, 24)
    if part and not is_day:
        raise ValueError(f"not a day: '{bare}'")
    ends = is_day and not said.startswith('since ')
    return begins + first * 3600, begins + end * 3600 if ends else None


def _begins(text: str, now: float) -> tuple[float, bool]:
    """Return when a time begins, and whether it is a day."""
    text = _NUMBER.sub(lambda found: _NUMBERS[found[1] or 'a'] + ' ', text, count=1)
    if _LASTING.fullmatch(text):
        parts = _PART.findall(text)
        return now - sum(float(number) * _UNITS[_letter(unit)] for number, unit in parts), False
    period = _PERIOD.fullmatch(text)
    if period:
        return _begun(period[1], period[2], now), False
    named = _NAMED_DAY.fullmatch(text)
    if named:
        days = now // _DAY - _ago(named['name'], now)
        return days * _DAY + _moment(named.groupdict(), now) % _DAY, not named['clock']
    for form in _MOMENTS:
        found = form.fullmatch(text)
        if found:
            return _moment(found.groupdict(), now), not found['clock']
    raise ValueError(f"not a time: '{text}'")


def _ago(name: str, now: float) -> int:
    """Return how many days ago a day was."""
    which, _blank, day = name.rpartition(' ')
    if day[:3] in _DAYS:
        days = (time.gmtime(now).tm_wday - _DAYS.index(day[:3])) % 7
        return 7 if which == 'last' and not days else days
    return {'today': 0, 'yesterday': 1}.get(name, 2)


def _of_day(half: re.Match[str]) -> str:
    """Return a time of day that was said of half of a day, as one of 24 hours."""
    hours = int(half[1]) % 12 + 12 * (half[3] == 'p') if 0 < int(half[1]) < 13 else 99
    return f'{hours}{half[2] or ":00"}'


def _letter(unit: str) -> str:
    return 'M' if unit.startswith('month') else unit[0]


def _begun(which: str, unit: str, now: float) -> float:
    """Return when a period began: this week on Monday, the last one a week before."""
    letter = _letter(unit)
    if which == 'past' or _UNITS[letter] < _DAY:
        return now - _UNITS[letter]
    back = which == 'last'
    date = time.gmtime(now)
    if letter == 'M':
        year, month = divmod(date.tm_year * 12 + date.tm_mon - 1 - back, 12)
        return calendar.timegm((year, month + 1, 1, 0, 0, 0))
    if letter == 'y':
        return calendar.timegm((date.tm_year - back, 1, 1, 0, 0, 0))
    days = date.tm_wday + 7 * back if letter == 'w' else back
    return now // _DAY * _DAY - days * _DAY


def _moment(said: dict[str, str | None], now: float) -> float:
    """Return a date and a time of day; what it leaves out is that of the last one before now."""
    today = time.gmtime(now)
    month = said.get('month')
    number = said.get('number') or (_MONTHS.index(month[:3]) + 1 if month else today.tm_mon)
    hours, minutes, seconds = (*map(int, (said['clock'] or '0').split(':')), 0, 0)[:3]
    if hours > 23 or minutes > 59 or seconds > 60:
        raise ValueError('not a time of day')
    offset = hours * 3600 + minutes * 60 + seconds
    zone = said['zone']
    if zone:
        east = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        offset -= -east if zone[0] == '-' else east
    year = said.get('year') or said.get('later')
    for tried in [year] if year else [today.tm_year, today.tm_year - 1]:
        day = f'{tried}-{number}-{said.get("day") or today.tm_mday}'
        found = float(calendar.timegm(time.strptime(day, '%Y-%m-%d'))) + offset
        if found <= now:
            break
        if 'day' not in said:
            return found - _DAY
    return found


def seconds(text: str) -> float:
    """Return a date in seconds since the epoch: such seconds, what `span` takes, or words.

    Raise `ValueError` if it is none of these.
    """
    text = text.strip()
    if re.fullmatch(r'[0-9]{1,15}(\.[0-9]{1,9})?', text):
        return float(text)
    with contextlib.suppress(ValueError):
        return span(text)[0]
    if len(text) <= _MAX_LENGTH and not _NO_CLOCK.search(text):
        import parsedatetime  # a push imports this module, and no date

        words = parsedatetime.Calendar(version=parsedatetime.VERSION_CONTEXT_STYLE)
        with contextlib.suppress(OverflowError):
            now = time.gmtime(time.time())
            found, context = words.parse(text, now)
            left = text.lower()
            dates = words.nlp(left, now) or []
            if len(dates) == 1:
                left = left.replace(dates[0][-1], ' ')
            # It ignores what it does not know, such as time zones.
            if context.hasDateOrTime and _LEFT.issuperset(re.findall(r'[^\W_]+', left)):
                return calendar.timegm(found)
    raise ValueError(f"not a date: '{text[:_MAX_LENGTH]}'")
