"""``admin::headless-announce``: tell others of pushes, at least once, in order.

The targets are in the section ``[headless-announce]``: webhooks, and commands. The signature of a
webhook is in the header ``X-Hub-Signature-256``, as WebSub and GitHub have it: ``sha256=`` and the
HMAC-SHA256 of the body with the secret, hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mercurial import pycompat

from .. import hgcompat
from ..backend import Backend
from ..catalog import announcements, pushlog
from ..catalog.announcements import Cursor
from ..catalog.coordination import Lock
from ..errors import HeadlessError, Misconfigured, Refused, counted
from ..hgweb.pushlog import json_format, visibility
from ..hgweb.pushlog.query import Query
from ..model import Entry, Selection
from . import options

_SECTION = b'headless-announce'
#: Maximum number of pushes that are read at a time, and size in bytes after which a command gets
#: no more of them at once.
_BATCH, _BYTES = 100, 16 * 1024 * 1024
#: Seconds until an undelivered push is tried again, at first and at most; doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 1, 300
#: Seconds to wait for a target.
_WEBHOOK_TIMEOUT, _COMMAND_TIMEOUT = 10, 300


def run(ui: Any, repo: Any, backend: Backend, *names: bytes, **opts: Any) -> int:
    targets = configured(ui, names)
    if opts['list']:
        return _list(ui, repo, backend, targets, opts)
    if not targets:
        raise Refused('no targets in [headless-announce]')
    if opts['from']:
        if not names:
            raise Refused('--from needs the name of a target')
        [first] = options.push_ids('from', [opts['from']])
        last = backend.catalog.read(pushlog.last_push_id)
        if first > last + 1:  # it may begin with the next one
            raise Refused(f'there is no push {first}: the last one is {last}')
        for target in targets:
            with backend.catalog.exclusive(f'announce {target.name}') as lock:
                if lock is None:
                    raise Refused(f'{target.name} is being told by another process: stop it first')
                backend.catalog.write(announcements.begin, target.name, max(0, first - 1))
    announcer = _Announcer(ui, repo.unfiltered(), backend, targets)
    if opts['watch']:
        options.watch(ui, repo, announcer.tell_all)
    return 0 if announcer.tell_all() else 1


class Target(NamedTuple):
    """``address`` is the URL of a webhook or, if it ``is_command``, what a shell runs.

    ``secret`` is the key of the webhook's signatures, or None.
    """

    name: str
    address: str
    is_command: bool = False
    secret: bytes | None = None


def configured(ui: Any, wanted: Sequence[bytes]) -> list[Target]:
    """Return the targets named ``wanted``, or all, sorted by name.

    Raise `Misconfigured` for an item that is not one, and `Refused` if there is no such target.
    """
    names = sorted(name for name, _value in ui.configitems(_SECTION) if b':' not in name)
    for name in wanted:
        if name not in names:
            raise Refused(f'no target "{hgcompat.escaped(name)}" in [headless-announce]')
    return [_target(ui, name) for name in names if not wanted or name in wanted]


def _target(ui: Any, name: bytes) -> Target:
    value, options = ui.configsuboptions(_SECTION, name)
    shown = hgcompat.escaped(name)
    unknown = sorted(set(options) - {b'secret'})
    if unknown:
        raise Misconfigured(f'headless-announce.{shown}:{hgcompat.escaped(unknown[0])} is unknown')
    if not re.fullmatch(rb'[A-Za-z0-9._-]{1,100}', name):
        raise Misconfigured(f'headless-announce.{shown}: the name may have letters, digits, ".-_"')
    text = hgcompat.to_str(value or b'').strip()
    if text.startswith('|') and text[1:].strip():
        return Target(hgcompat.to_str(name), text[1:].strip(), is_command=True)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as exc:
        raise Misconfigured(f'headless-announce.{shown} is not a URL: {exc}') from exc
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        raise Misconfigured(
            f'headless-announce.{shown} is neither an http or https URL nor "| COMMAND"'
        )
    return Target(hgcompat.to_str(name), text, secret=options.get(b'secret') or None)


class _Announcer(NamedTuple):
    ui: Any
    repo: Any
    backend: Backend
    targets: Sequence[Target]

    def tell_all(self) -> bool:
        """Tell the targets in turn, until they know all; return whether they do.

        A target that does not take a push is left out, until the push is tried again.
        """
        self.repo.invalidateall()
        has_failed = False
        ready = list(self.targets)
        while ready:
            for target in list(ready):
                try:
                    more = self._tell_some(target)
                except HeadlessError as exc:
                    self._warn(exc.line())
                    more, has_failed = False, True
                except _Undelivered:
                    more, has_failed = False, True
                if not more:
                    ready.remove(target)
        return not has_failed

    def _tell_some(self, target: Target) -> bool:
        """Deliver the next pushes; return whether there may be more. Raise `_Undelivered`."""
        cursor, last = self._place(target)
        if cursor is not None and cursor.push_id >= last:
            return False
        with self.backend.catalog.exclusive(f'announce {target.name}') as lock:
            if lock is None:  # another process tells it
                return False
            cursor, last = self._place(target)
            if cursor is None:  # a new target is told of what comes
                self.backend.catalog.write(announcements.delivered, lock, target.name, last)
                cursor = Cursor(target.name, last)
            selection = Selection(after=cursor.push_id, upto=last)
            entries = self.backend.read_catalog.read(pushlog.entries, selection, False, _BATCH)
            if entries and cursor.waits > 0:
                raise _Undelivered('it is not time to try again')
            left = list(entries)
            while left:
                messages = [self._message(left.pop(0), last)]
                # A command takes as many as there are, a webhook one.
                while target.is_command and left and sum(len(m.body) for m in messages) < _BYTES:
                    messages.append(self._message(left.pop(0), last))
                try:
                    if target.is_command:
                        _pipe(target.address, messages)
                    else:
                        _post(target, self.backend.settings.repository, messages[0])
                except _Undelivered as exc:
                    self._note_failure(lock, cursor, messages[0].push_id, str(exc))
                    raise
                told = messages[-1].push_id
                self.backend.catalog.write(announcements.delivered, lock, target.name, told)
                cursor = cursor._replace(push_id=told, failures=0)
        return len(entries) == _BATCH

    def _place(self, target: Target) -> tuple[Cursor | None, int]:
        """Return a target's cursor, and the last push that this server can serve."""
        with self.backend.read_catalog.reading() as session:
            last = visibility.last_shown(self.backend, session, self.repo)
        return self.backend.catalog.read(announcements.cursors, last).get(target.name), last

    def _message(self, entry: Entry, last: int) -> _Message:
        query = Query(Selection(), None, (), True, False, 2, False)
        chunks = json_format.answer(self.repo, query, [entry], last)
        return _Message(entry.push_id, b''.join(chunks))

    def _note_failure(self, lock: Lock, cursor: Cursor, push_id: int, why: str) -> None:
        pause = min(_FIRST_PAUSE << min(cursor.failures, 16), _LONGEST_PAUSE)
        self.backend.catalog.write(announcements.failed, lock, cursor, why[:500], pause)
        self._warn(
            f'{cursor.target}: push {push_id} was not delivered: {why}; '
            f'trying again in {options.number(pause, "second").decode("ascii")}'
        )

    def _warn(self, line: str) -> None:
        self.ui.warn(b'%s\n' % hgcompat.to_bytes(line))
        self.ui.flush()


class _Message(NamedTuple):
    """A push: ``body`` is JSON, as ``json-pushes`` has it."""

    push_id: int
    body: bytes


class _Undelivered(Exception):
    """A target did not take a message. The text says why, and has no secret."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would follow a redirect with GET and without the body."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def _post(target: Target, repository: str, message: _Message) -> None:
    """Deliver a message to a webhook. Raise `_Undelivered`."""
    headers = {
        'Content-Type': 'application/json',
        'User-Agent': 'hgext-headless',
        'X-Headless-Repository': repository,
        'X-Headless-Push': str(message.push_id),
    }
    if target.secret is not None:
        digest = hmac.new(target.secret, message.body, hashlib.sha256).hexdigest()
        headers['X-Hub-Signature-256'] = f'sha256={digest}'
    request = urllib.request.Request(target.address, data=message.body, headers=headers)
    try:
        with _opener.open(request, timeout=_WEBHOOK_TIMEOUT) as response:
            response.read(1 << 16)
    except urllib.error.HTTPError as exc:
        exc.close()
        raise _Undelivered(f'it answered {exc.code}') from exc
    except (OSError, http.client.HTTPException) as exc:
        reason = getattr(exc, 'reason', None) or exc
        raise _Undelivered(f'it cannot be reached: {reason}') from exc


def _pipe(command: str, messages: Sequence[_Message]) -> None:
    """Deliver messages to a command. Raise `_Undelivered`."""
    lines = b''.join(message.body + b'\n' for message in messages)
    try:
        done = subprocess.run(command, shell=True, input=lines, timeout=_COMMAND_TIMEOUT)
    except subprocess.TimeoutExpired as exc:
        raise _Undelivered(f'it did not end within {_COMMAND_TIMEOUT} seconds') from exc
    except OSError as exc:
        raise _Undelivered(f'it cannot be started: {exc.strerror}') from exc
    if done.returncode:
        raise _Undelivered(f'it ended with exit code {done.returncode}')


def _list(
    ui: Any, repo: Any, backend: Backend, targets: Sequence[Target], opts: dict[str, Any]
) -> int:
    names = {target.name for target in targets}
    cursors = places(repo, backend)
    with ui.formatter(b'headless-announce', pycompat.byteskwargs(opts)) as fm:
        for name in sorted(names | cursors.keys()):
            fm.startitem()
            fm.write(b'target', b'%s: ', hgcompat.to_bytes(name))
            cursor = cursors.get(name)
            if cursor is None:
                fm.data(push=None, behind=None, failures=0, error=b'')
                fm.plain(b'new; the first run begins with the next push\n')
                continue
            fm.data(push=cursor.push_id, behind=cursor.behind)
            fm.data(failures=cursor.failures, error=hgcompat.to_bytes(cursor.error))
            fm.plain(described(cursor))
            if name not in names:
                fm.plain(b'; not configured here: see "hg help admin::headless-announce"')
            fm.plain(b'\n')
    return 0


def places(repo: Any, backend: Backend) -> dict[str, Cursor]:
    """Return how far each target is that was ever told, by name."""
    with backend.read_catalog.reading() as session:
        last = visibility.last_shown(backend, session, repo)
    return backend.catalog.read(announcements.cursors, last)


def described(cursor: Cursor) -> bytes:
    """Return what a target is still to be told, and why."""
    text = f'{counted(cursor.behind, "push")} after push {cursor.push_id} to come'
    if cursor.failures:
        text += f'; failed {counted(cursor.failures, "time")}: {cursor.error}'
    return hgcompat.to_bytes(text)
