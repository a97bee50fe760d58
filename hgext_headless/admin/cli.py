"""What the operators' commands share: ages, progress with its rate, who runs them."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Any

from mercurial.utils import dateutil, procutil

from .. import hgcompat
from ..errors import Refused

#: Mercurial's own, and the rate.
_FORMAT = b'topic bar number speed estimate'

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}


def age(option: str, text: bytes) -> int:
    """An age like ``90d``, ``12h`` or ``2w`` in seconds. Raises `Refused`."""
    found = re.fullmatch(r'([0-9]{1,9})([smhdw])', hgcompat.to_str(text).strip())
    if not found:
        raise Refused(
            f'--{option} takes an age like 90d, 12h or 2w, not "{hgcompat.escaped(text)}"'
        )
    return int(found.group(1)) * _UNITS[found.group(2)]


def moment(option: str, text: bytes) -> float:
    """An age, or a date of ``hg help dates``, in seconds since the epoch. Raises `Refused`."""
    with contextlib.suppress(Refused):
        return time.time() - age(option, text)
    try:
        seconds: float = dateutil.parsedate(text)[0]
    except Exception as exc:
        raise Refused(f'--{option} takes a date or an age like 7d: {exc}') from exc
    return seconds


def push_ids(option: str, values: list[bytes]) -> list[int]:
    """Raises `Refused`."""
    for value in values:
        if not re.fullmatch(rb'[0-9]{1,18}', value):
            raise Refused(f'--{option} takes the id of a push, not "{hgcompat.escaped(value)}"')
    return sorted({int(value) for value in values})


def operator() -> str:
    """Who runs the command, for the audit table."""
    return hgcompat.to_str(procutil.getuser() or b'')


def show_rate(ui: Any) -> None:
    """Let the progress bar show the rate too, unless the user has another format for it.

    The bar is one for the whole process, made when it is first needed.
    """
    if not ui.hasconfig(b'progress', b'format'):
        ui.setconfig(b'progress', b'format', _FORMAT, b'headless')


def progress(ui: Any, topic: bytes, unit: bytes, total: int | None) -> Any:
    """Mercurial's progress bar, a context manager."""
    return ui.makeprogress(topic, unit=unit, total=total)


def summary(ui: Any, fm: Any, text: bytes) -> None:
    """Say what was done: to people, unless they want quiet, and not to machines."""
    if fm.isplain():
        ui.status(text)
