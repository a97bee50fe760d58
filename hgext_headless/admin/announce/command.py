"""``admin::headless-announce``: tell others of pushes, at least once, in order."""

from __future__ import annotations

import threading
from typing import Any

from mercurial import hg

from ... import hgcompat, lazy
from ...backend import Backend
from ...catalog import announcements, pushlog
from ...catalog.announcements import Cursor
from ...errors import HeadlessError, Refused
from ...hgweb.pushlog import json_format, visibility
from ...hgweb.pushlog.query import Query
from ...model import Entry, Selection
from .. import cli
from . import delivery, targets
from .delivery import Message, Undelivered
from .targets import Target

#: Pushes that are read at a time.
_BATCH = 100
#: Seconds until an undelivered push is tried again, at first and at most; doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 1, 300


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    wanted = targets.configured(repo.ui)
    if opts['list']:
        return _list(ui, repo, backend, wanted, opts)
    if not wanted:
        raise Refused('nobody is to be told: the section [headless-announce] is empty')
    lazy.settle()  # before there are threads
    announcers = [_Announcer(ui, repo, target) for target in wanted]
    if opts['watch']:
        cli.watch(ui, backend, lambda: _wake(announcers))
    for announcer in announcers:
        announcer.thread.join()
    return 1 if any(announcer.has_failed for announcer in announcers) else 0


def _wake(announcers: list[_Announcer]) -> None:
    for announcer in announcers:
        announcer.wake()


class _Announcer:
    """Tells one target, in a thread of its own: what it does not take holds nobody else back."""

    def __init__(self, ui: Any, repo: Any, target: Target) -> None:
        self._ui = ui
        # Threads may not share a repository object.
        self._repo = hg.repository(repo.baseui, repo.root).unfiltered()
        self._backend = self._repo.headless
        self._target = target
        self.has_failed = False
        self.thread = threading.Thread(target=self._tell, daemon=True)
        self.thread.start()

    def wake(self) -> None:
        """Begin again, unless this is still under way."""
        if not self.thread.is_alive():
            self.thread = threading.Thread(target=self._tell, daemon=True)
            self.thread.start()

    def _tell(self) -> None:
        self.has_failed = True  # until all was told
        try:
            with self._backend.catalog.exclusive(f'announce {self._target.name}') as lock:
                if lock is None:  # another process tells it
                    self.has_failed = False
                    return
                while self._tell_some():
                    lock()
        except HeadlessError as exc:
            self._warn(exc.line())

    def _tell_some(self) -> bool:
        """Deliver the next pushes; return whether there may be more."""
        cursor, entries, last = self._next()
        if not entries or cursor.waits:
            self.has_failed = bool(cursor.waits)
            return False
        messages = [self._message(entry, last) for entry in entries]
        while messages:
            try:
                told = delivery.deliver(self._target, self._backend.settings.repository, messages)
            except Undelivered as exc:
                self._note_failure(cursor, messages[0].push_id, str(exc))
                return False
            self._backend.catalog.write(announcements.delivered, self._target.name, told)
            cursor = cursor._replace(push_id=told, failures=0)
            messages = [message for message in messages if message.push_id > told]
        return True

    def _next(self) -> tuple[Cursor, list[Entry], int]:
        """Return the cursor, the next pushes that this server can serve, and the last one."""
        self._repo.invalidateall()
        name = self._target.name
        with self._backend.reader.reading() as session:
            last = visibility.last_shown(self._backend, session, self._repo)
        cursor = self._backend.catalog.read(announcements.cursors).get(name)
        if cursor is None:  # a new target is told of what comes
            self._backend.catalog.write(announcements.delivered, name, last)
            cursor = Cursor(name, last, 0, '', 0)
        with self._backend.reader.reading() as session:
            entries = pushlog.entries(
                session, Selection(after=cursor.push_id, upto=last), newest=False, limit=_BATCH
            )
        return cursor, entries, last

    def _message(self, entry: Entry, last: int) -> Message:
        query = Query(Selection(), None, (), True, False, 2, False)
        chunks = json_format.answer(self._backend, self._repo, query, [entry], last)
        return Message(entry.push_id, b''.join(chunks))

    def _note_failure(self, cursor: Cursor, push_id: int, why: str) -> None:
        pause = min(_FIRST_PAUSE << min(cursor.failures, 16), _LONGEST_PAUSE)
        self._backend.catalog.write(announcements.failed, cursor, why[:500], pause)
        self._warn(
            f'{self._target.name}: push {push_id} was not delivered: {why}; '
            f'trying again in {pause} seconds'
        )

    def _warn(self, line: str) -> None:
        self._ui.warn(b'%s\n' % hgcompat.to_bytes(line))
        self._ui.flush()


def _list(
    ui: Any, repo: Any, backend: Backend, wanted: list[Target], opts: dict[str, Any]
) -> int:
    with backend.reader.reading() as session:
        last = visibility.last_shown(backend, session, repo)
    cursors = backend.catalog.read(announcements.cursors)
    names = {target.name for target in wanted}
    with ui.formatter(b'headless-announce', hgcompat.formatter_options(opts)) as fm:
        for name in sorted(names | cursors.keys()):
            cursor = cursors.get(name, Cursor(name, last, 0, '', 0))
            fm.startitem()
            fm.write(b'target', b'%s', hgcompat.to_bytes(name))
            fm.write(b'push', b': told of push %d', cursor.push_id)
            fm.write(b'behind', b', %d to come', max(0, last - cursor.push_id))
            fm.data(failures=cursor.failures, error=hgcompat.to_bytes(cursor.error))
            if cursor.failures:
                fm.plain(
                    b'; failed %d times: %s'
                    % (cursor.failures, hgcompat.to_bytes(cursor.error))
                )
            fm.plain(b'\n' if name in names else b'; no longer configured\n')
    return 0
