"""Dates as people and programs write them."""

from __future__ import annotations

import contextlib
import re
import time

import parsedatetime

_FORMATS = ('%Y-%m-%d', '%Y-%m-%d %H', '%Y-%m-%d %H:%M', '%Y-%m-%d %H:%M:%S')
#: More is not a date, and the library takes long to say so.
_MAX_LENGTH = 100


def parse(text: str) -> float:
    """Seconds since the epoch: of such seconds, of an ISO date in the server's time
    zone, or of natural language. Raises `ValueError`."""
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
