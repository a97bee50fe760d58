"""How long the stages of a push or an answer take, for Mercurial's blackbox log."""

from __future__ import annotations

import contextlib
import json
import re
import syslog
import time
from collections.abc import Iterator, Mapping
from typing import Any

from mercurial import error
from mercurial.utils import procutil

from .errors import HeadlessError, Unopened, file_failed
from .hgcompat import to_bytes, to_str

_EVENT = b'headless'
_PLAIN = re.compile(r'[A-Za-z0-9_.:/@+-]+')
#: Maximum length of a value: some come from clients.
_LONGEST = 300
#: Outcomes that are told to the log of a web server, and seconds for which one line is told once.
_FAILURES = {'temporary', 'misconfigured', 'corrupt', 'failed'}
_ONCE = 60
_MOST_TOLD = 1000
_told: dict[str, float] = {}


class Stages:
    """The timings of one push or request, in seconds of a monotonic clock."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        self._seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._began = self._turned = time.monotonic()

    def note(self, **facts: Any) -> None:
        """Add facts to the log line: str, bytes or int. None is not logged."""
        self._facts.update(facts)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage. The stage around it, if any, does not count this time."""
        self._turn()
        self._seconds.setdefault(name, 0.0)
        self._running.append(name)
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    def _turn(self) -> None:
        now = time.monotonic()
        if self._running:
            self._seconds[self._running[-1]] += now - self._turned
        self._turned = now

    @property
    def facts(self) -> dict[str, Any]:
        """What was noted, without what is None."""
        return {name: fact for name, fact in self._facts.items() if fact is not None}

    def seconds(self) -> dict[str, float]:
        """Return the durations of the stages, and the ``total``."""
        return {**self._seconds, 'total': time.monotonic() - self._began}

    def line(self) -> bytes:
        """Return the log line: pairs ``key=value``, the value plain or a JSON string."""
        pairs = {name: _value(fact) for name, fact in self.facts.items()}
        for name, seconds in self.seconds().items():
            pairs[f'{name}_seconds'] = f'{seconds:.3f}'
        return to_bytes(' '.join(f'{name}={value}' for name, value in pairs.items()))


def _text(fact: Any) -> str:
    return (to_str(fact) if isinstance(fact, bytes) else str(fact))[:_LONGEST]


def _value(fact: Any) -> str:
    text = _text(fact)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


@contextlib.contextmanager
def logged(ui: Any, event: str, only_failures: bool = False, **facts: Any) -> Iterator[Stages]:
    """Time the block and log one line about it, also if it fails, or ``only_failures``.

    ``outcome`` is ``ok``, the kind of one of our errors, ``unknown`` (no such changeset),
    ``aborted`` (by Mercurial or a hook of the site), ``failed``, or ``interrupted``.
    """
    stages = Stages({'event': event, 'outcome': 'ok', **facts})
    try:
        yield stages
    except BaseException as exc:
        stages.note(**failure(exc))
        raise
    finally:
        outcome = stages.facts['outcome']
        if outcome in _FAILURES:
            complain(ui.environ, f'headless: {outcome}: {stages.facts.get("error")}')
        if outcome in _FAILURES or not only_failures:
            # The blackbox does not log the event's name itself.
            ui.log(_EVENT, b'headless %s\n', stages.line())
            tell(ui, stages.facts, stages.seconds())


def failure(exc: BaseException) -> dict[str, str]:
    """Return the facts of an error."""
    why = exc.__cause__ if isinstance(exc, Unopened) else exc
    if isinstance(why, OSError):
        why = file_failed(type(why).__name__, why)
    if isinstance(why, HeadlessError):
        return {'outcome': why.kind, 'error': str(why)}
    # The text of other errors may be anything, so log only their type.
    name = type(exc).__name__
    if isinstance(exc, (error.RepoLookupError, error.LookupError)):
        return {'outcome': 'unknown', 'error': name}
    if isinstance(exc, (error.Abort, error.PushRaced)):
        return {'outcome': 'aborted', 'error': name}
    return {'outcome': 'failed' if isinstance(exc, Exception) else 'interrupted', 'error': name}


def note_failure(ui: Any, during: str, exc: Exception) -> None:
    """Log a failure after which an answer goes on without what failed."""
    line = f'headless: {exc.kind}: {exc}' if isinstance(exc, HeadlessError) else repr(exc)
    ui.log(_EVENT, b'%s: %s\n', to_bytes(during), to_bytes(line))
    complain(ui.environ, line)


def complain(environ: Mapping[bytes, Any], line: str) -> None:
    """Write a line to the log of the web server that has taken a request, if one has.

    The same line is written once a minute: in a flood of requests, each may fail.
    """
    log, now = environ.get(b'wsgi.errors'), time.monotonic()
    if log is None or _told.get(line, now) > now:
        return
    if len(_told) > _MOST_TOLD:
        _told.clear()
    _told[line] = now + _ONCE
    plain = ' '.join(line.split()).encode('ascii', 'backslashreplace')
    with contextlib.suppress(OSError, ValueError):
        try:
            log.write(plain.decode('ascii') + '\n')
        except TypeError:  # that of "hg serve"
            log.write(plain)
        log.flush()


def tell(ui: Any, facts: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
    """Tell of an event as ``headless.events`` says. Nothing is raised if that fails."""
    where = ui.config(b'headless', b'events')
    repository = to_str(ui.config(b'headless', b'repository') or b'-')
    if where == b'syslog':
        syslog.openlog('hgext_headless', syslog.LOG_PID, syslog.LOG_DAEMON)
        syslog.syslog(syslog.LOG_INFO, _json(repository, facts, seconds))
    # Over ssh and by path, standard error is the client's.
    elif where == b'stderr' and b'REQUEST_METHOD' in ui.environ:
        with contextlib.suppress(OSError):
            procutil.stderr.write(to_bytes(_json(repository, facts, seconds) + '\n'))
            procutil.stderr.flush()


def _json(repository: str, facts: Mapping[str, Any], seconds: Mapping[str, float]) -> str:
    def plain(fact: Any) -> Any:
        if isinstance(fact, (int, float)):
            return fact
        return _text(fact).encode('utf-8', 'backslashreplace').decode('utf-8')

    line = {'time': round(time.time(), 3), 'repository': repository}
    line.update((name, plain(fact)) for name, fact in facts.items())
    line['seconds'] = {name: round(duration, 3) for name, duration in seconds.items()}
    return json.dumps(line)
