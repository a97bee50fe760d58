"""Parse dates as people and programs write them."""

from __future__ import annotations

import contextlib
import re
import time

import parsedatetime

_FORMATS = ('%Y-%m-%d', '%Y-%m-%d %H', '%Y-%m-%d %H:%M', '%Y-%m-%d %H:%M:%S')
#: Longer text is not a date, and the library needs long to reject it.
_MAX_LENGTH = 100


def parse(text: str) -> float:
    """Return a date in seconds since the epoch.

    ``text`` is such seconds, an ISO date in the server's time zone, or natural language. Raise
    `ValueError` if it is none of these.
    """
    text = text.strip()
    if re.fullmatch(r'[0-9]{1,15}(\.[0-9]{1,9})?', text):
        return float(text)
    for wanted in _FORMATS:
        with contextlib.suppress(ValueError, OverflowError):
            return time.mktime(time.strptime(text, wanted))
    if len(text) <= _MAX_LENGTH:
        calendar = parsedatetime.Calendar(version=parsedatetime.VERSION_CONTEXT_STYLE)
        with contextlib.suppress(OverflowError):
            found, context = calendar.parse(text)
            if context.hasDateOrTime:
                return time.mktime(found)
    raise ValueError(f"not a date: '{text[:_MAX_LENGTH]}'")
