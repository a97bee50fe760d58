"""What the operators' commands share: ages, the progress bar, the operator's name."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Any

from mercurial.utils import dateutil, procutil

from .. import hgcompat
from ..errors import Refused

#: Mercurial's default format, with the rate added.
_FORMAT = b'topic bar number speed estimate'

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}


def age(option: str, text: bytes) -> int:
    """Return an age like ``90d``, ``12h`` or ``2w`` in seconds.

    Raise `Refused` if it is not one.
    """
    found = re.fullmatch(r'([0-9]{1,9})([smhdw])', hgcompat.to_str(text).strip())
    if not found:
        raise Refused(
            f'--{option} takes an age like 90d, 12h or 2w, not "{hgcompat.escaped(text)}"'
        )
    return int(found.group(1)) * _UNITS[found.group(2)]


def moment(option: str, text: bytes) -> float:
    """Return the time of an age or a date (``hg help dates``), in seconds since the epoch.

    Raise `Refused` if it is neither.
    """
    with contextlib.suppress(Refused):
        return time.time() - age(option, text)
    try:
        seconds: float = dateutil.parsedate(text)[0]
    except Exception as exc:
        raise Refused(f'--{option} takes a date or an age like 7d: {exc}') from exc
    return seconds


def push_ids(option: str, values: list[bytes]) -> list[int]:
    """Return push ids from the ``values`` of an option, sorted.

    Raise `Refused` if one is not an id.
    """
    for value in values:
        if not re.fullmatch(rb'[0-9]{1,18}', value):
            raise Refused(f'--{option} takes the id of a push, not "{hgcompat.escaped(value)}"')
    return sorted({int(value) for value in values})


def operator() -> str:
    """Return the name of the user who runs the command, for the audit table."""
    return hgcompat.to_str(procutil.getuser() or b'')


def show_rate(ui: Any) -> None:
    """Add the rate to the progress bar, unless the user has set another format.

    The process creates one progress bar, when it is first needed.
    """
    if not ui.hasconfig(b'progress', b'format'):
        ui.setconfig(b'progress', b'format', _FORMAT, b'headless')


def progress(ui: Any, topic: bytes, unit: bytes, total: int | None) -> Any:
    """Return Mercurial's progress bar, a context manager."""
    return ui.makeprogress(topic, unit=unit, total=total)


def summary(ui: Any, fm: Any, text: bytes) -> None:
    """Print what was done, unless the output is quiet or is for programs (``-T``)."""
    if fm.isplain():
        ui.status(text)
