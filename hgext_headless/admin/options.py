"""What the operators' commands share: ages, the progress bar, the operator's name, waiting."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mercurial import progress as hgprogress, scmutil
from mercurial.node import hex, short
from mercurial.utils import dateutil, procutil

from .. import hgcompat, store as stores
from ..backend import Backend
from ..catalog import pushlog
from ..errors import Refused, Temporary, counted
from ..lifecycle import delete
from ..model import Conflict, PushNodes, Selection
from ..store import Object

#: Mercurial's default format, with the rate added.
_FORMAT = b'topic bar number speed estimate'

#: Seconds after which `watch` looks if nobody wakes it, on Postgres and elsewhere.
_NOTIFIED, _POLLING = 10, 1
#: Seconds to wait after an error, at first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 1, 30

#: Seconds between two lines of `progress`.
_EACH = 10
#: Number of objects that are named.
_FEW = 20

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}


def age(option: str, text: bytes) -> int:
    """Return an age like ``90d``, ``12h`` or ``2w`` in seconds. Raise `Refused`."""
    found = re.fullmatch(r'([0-9]{1,9})([smhdw])', hgcompat.to_str(text).strip())
    if not found:
        raise Refused(
            f'--{option} takes an age like 90d, 12h or 2w, not "{hgcompat.escaped(text)}"'
        )
    return int(found.group(1)) * _UNITS[found.group(2)]


def moment(option: str, text: bytes) -> float:
    """Return the time of an age or a date (``hg help dates``), in seconds since the epoch.

    Raise `Refused`.
    """
    with contextlib.suppress(Refused):
        return time.time() - age(option, text)
    try:
        seconds: float = dateutil.parsedate(text)[0]
    except Exception as exc:
        raise Refused(f'--{option} takes a date or an age like 7d: {exc}') from exc
    return seconds


def push_ids(option: str, values: list[bytes]) -> list[int]:
    """Return push ids from the ``values`` of an option, sorted. Raise `Refused`."""
    for value in values:
        if not re.fullmatch(rb'[0-9]{1,18}', value):
            raise Refused(f'--{option} takes the id of a push, not "{hgcompat.escaped(value)}"')
    return sorted({int(value) for value in values})


def pushes(backend: Backend, option: str, values: list[bytes]) -> tuple[int, ...]:
    """Return the ids of recorded pushes from the ``values`` of an option, sorted.

    Raise `Refused` if one is not an id, or there is no such push.
    """
    wanted = tuple(push_ids(option, values))
    there = backend.catalog.read(pushlog.entries, Selection(push_ids=wanted), False, None)
    for missing in sorted(set(wanted) - {entry.push_id for entry in there}):
        raise Refused(f'there is no push {missing}')
    return wanted


def number(count: int, noun: str) -> bytes:
    """Return what `errors.counted` returns, for Mercurial."""
    return counted(count, noun).encode('ascii')


def operator() -> str:
    """Return the name of the user who runs the command, for the audit table."""
    return hgcompat.to_str(procutil.getuser() or b'')


def show_rate(ui: Any) -> None:
    """Add the rate to the progress bar, unless the user has set another format."""
    if not ui.hasconfig(b'progress', b'format'):
        ui.setconfig(b'progress', b'format', _FORMAT, b'headless')


def progress(ui: Any, topic: bytes, unit: bytes, total: int | None) -> Any:
    """Return Mercurial's progress bar, a context manager.

    Where there is no terminal for it, as in a log, it is a line each ten seconds, unless
    ``progress.disable`` is set.
    """
    silent = ui.quiet or ui.configbool(b'progress', b'disable')
    if silent or hgprogress.shouldprint(ui):
        return ui.makeprogress(topic, unit=unit, total=total)
    last = time.monotonic()

    def update(topic: bytes, done: int | None, item: bytes, unit: bytes, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if done is not None and now >= last + _EACH:  # None: the end
            last = now
            of = b' of %d' % total if total else b''
            # Not to stdout, which may be for programs.
            ui.write_err(b'%s: %d%s %s\n' % (topic, done, of, unit))

    return scmutil.progress(ui, update, topic, unit, total)


def orphans(ui: Any, backend: Backend, topic: bytes) -> Iterator[list[Object]]:
    """Yield the objects without a row, those of one part of the store at a time."""
    parts = stores.parts(backend.store, backend.settings.repository)
    with progress(ui, topic, b'parts', len(parts)) as bar:
        for number, prefix in enumerate(parts):
            bar.update(number)
            yield delete.without_row(backend, backend.store.objects(prefix))


def tell_undeleted(ui: Any, deleter: delete.Deleter) -> bool:
    """Warn of objects that the store has refused to delete; return whether there are any."""
    undeleted = sorted(deleter.undeleted.values())
    for each in undeleted[:_FEW]:
        text = f'{each.key} stays in the store, which says {each.said}'
        ui.warn(b'%s\n' % hgcompat.to_bytes(text))
    if undeleted:
        ui.warn(
            b'%s could not be deleted; the next gc, expire or obliterate tries it again\n'
            % number(len(undeleted), 'object')
        )
    return bool(undeleted)


def watch(ui: Any, repo: Any, look: Callable[[], object]) -> None:
    """Call ``look`` for ever: when the database tells of something new, and from time to time.

    Go on after `Temporary`, and say when that has ended.
    """
    backend = repo.headless
    is_postgres = backend.settings.database.startswith('postgresql')
    pause = _FIRST_PAUSE
    has_failed = False
    while True:
        try:
            with backend.catalog.listening() as wait:
                while True:
                    if not os.path.isdir(repo.spath):  # Mercurial would take it for an empty one
                        raise Temporary('the repository is not there', hgcompat.to_str(repo.root))
                    look()
                    if has_failed:
                        ui.warn(b'headless: it works again\n')
                        has_failed = False
                    ui.flush()
                    pause = _FIRST_PAUSE
                    wait(_NOTIFIED if is_postgres else _POLLING)
        except Temporary as exc:
            ui.warn(b'%s\n' % hgcompat.to_bytes(exc.line()))
            has_failed = True
        ui.flush()
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def summary(ui: Any, fm: Any, text: bytes) -> None:
    """Print what was done, unless the output is quiet or is for programs (``-T``)."""
    if fm.isplain():
        ui.status(text)


def show_conflicts(fm: Any, conflicts: Iterable[Conflict], ours: bytes) -> None:
    """Write a line for each conflict; ``ours`` introduces the push that was not written."""
    for conflict in conflicts:
        push = conflict.push
        if conflict.recorded is not None:
            recorded = _described(conflict.recorded)
        else:
            recorded = b'%s came with push %d' % (hex(conflict.node), conflict.owner)
        fm.startitem()
        fm.data(kind=b'conflict', push=push.push_id, recorded=recorded, found=_described(push))
        fm.plain(
            b'push %d conflicts: recorded is %s; %s %s\n'
            % (push.push_id, recorded, ours, _described(push))
        )


def _described(push: PushNodes) -> bytes:
    user = hgcompat.escaped_bytes(push.user)
    date = dateutil.datestr((push.date, 0), b'%Y-%m-%d %H:%M:%S')
    described = b'%s at %s' % (user, date)
    if not push.nodes:
        return described
    names = b' '.join(short(node) for node in push.nodes[:3])
    more = b' ...' if len(push.nodes) > 3 else b''
    return b'%s with %s (%s%s)' % (described, number(len(push.nodes), 'changeset'), names, more)
