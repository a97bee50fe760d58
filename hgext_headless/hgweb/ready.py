"""For load balancers and Prometheus: ``headless-health``, ``-ready`` and ``-metrics``.

They need no login, and contain no secrets. ``headless-health`` asks neither database nor store.
The answer of ``headless-ready`` is kept for a second. A server that takes pushes does for it what a
push does: it writes to the database and to the store.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from mercurial import hg
from mercurial.hgweb import common

from .. import config, hgcompat, metrics, place as places, timings
from ..catalog import diagnosis, engine, pushlog
from ..errors import Corrupt, HeadlessError, Misconfigured
from ..lifecycle import delete
from .pushlog import visibility

_HEALTH, _READY, _METRICS = b'headless-health', b'headless-ready', b'headless-metrics'
#: Seconds for which an answer is kept.
_KEPT = 1.0
#: Seconds between two attempts to write to the store that succeed.
_TRIED = 60.0


def matches(req: Any) -> bool:
    """Return whether a request (hgweb's `parsedrequest`) is for one of these."""
    parts = req.dispatchparts
    return len(parts) == 1 and parts[0] in (_HEALTH, _READY, _METRICS)


def answer(repo: Any, req: Any, res: Any) -> Iterator[bytes]:
    """Return the response: metrics, or JSON with status 200, or 503 if the server is not ready.

    The status is 400 if a parameter is wrong. The request's parameter ``max-lag`` is in seconds.
    A server that lacks older public history is not ready. Raise `errors.Unopened` if its hgrc is
    not in effect any more, or wrong.
    """
    if req.dispatchparts[0] == _METRICS:
        return _metrics(repo, res)
    if asks_for_health(req):
        return answer_health(res)
    found = _kept(repo)
    text = req.qsparams.get(b'max-lag', b'')
    # No lag has more digits.
    if re.fullmatch(rb'[0-9]{1,15}', text):
        if found['public_history'].get('seconds', 0) > int(text):
            found = {**found, 'ready': False}
    elif text:
        found = {'error': 'max-lag is not a number of seconds'}
    return _sent(res, 400 if 'error' in found else 200 if found['ready'] else 503, found)


def asks_for_health(req: Any) -> bool:
    return list(req.dispatchparts) == [_HEALTH]


def answer_health(res: Any) -> Iterator[bytes]:
    """Answer that the process lives, which needs no repository."""
    return _sent(res, 200, {'status': 'ok'})


def _sent(res: Any, status: int, found: dict[str, Any]) -> Iterator[bytes]:
    res.status = common.statusmessage(status)
    res.headers[b'Content-Type'] = b'application/json'
    res.headers[b'Cache-Control'] = b'no-store'
    res.setbodybytes(json.dumps(found, indent=2).encode('ascii') + b'\n')
    return res.sendresponse()


def _metrics(repo: Any, res: Any) -> Iterator[bytes]:
    res.headers[b'Content-Type'] = b'text/plain; charset=utf-8'
    try:
        client = metrics.client()
    except Misconfigured as exc:
        res.status = b'501 Not Implemented'
        res.setbodybytes(hgcompat.to_bytes(f'{exc}\n'))
    else:
        res.status = b'200 Script output follows'
        res.headers[b'Content-Type'] = client.CONTENT_TYPE_LATEST.encode('ascii')
        res.setbodybytes(client.generate_latest(metrics.registry(repo, repo.headless)))
    return res.sendresponse()


def _kept(repo: Any) -> dict[str, Any]:
    backend = repo.headless
    try:
        memory = backend.catalog.memory('ready', repo.root)
    except HeadlessError as exc:
        timings.note_failure(repo.ui, 'ready', exc)
        return {'ready': False, 'public_history': {}, 'pushlog': {}, 'database': exc.kind}
    if time.monotonic() - memory.get('asked', -_KEPT) >= _KEPT:
        hg.repository(repo.baseui, repo.root)  # as hgweb does when it changes, and a push
        memory.update(found=_ready(repo), asked=time.monotonic())
    return memory['found']


def _ready(repo: Any) -> dict[str, Any]:
    backend = repo.headless
    found: dict[str, Any] = {'ready': True, 'public_history': {}, 'pushlog': {}}
    probe: list[tuple[str, int]] = []
    takes_pushes = config.takes_pushes(repo)
    memory = backend.catalog.memory('ready', repo.root)

    def database() -> None:
        with backend.catalog.reading() as session:
            found['schema'] = engine.schema_revision(session.connection)
            try:
                found['pushlog'] = {'last_push_id': pushlog.last_push_id(session)}
            except Misconfigured as exc:  # the text names the repository, and no host
                found['line'] = exc.line()
                raise
            probe.extend(filter(None, [diagnosis.probe(session)]))
            shown = visibility.last_shown(backend, session, repo)
            found['pushlog']['last_shown'] = shown
            if places.has_log(backend.settings):
                found['public_history'] = places.lag(repo, session)._asdict()

        if takes_pushes:
            backend.catalog.write(diagnosis.try_writing)
        # What is behind the log of public history catches up; without a log, nothing does.
        if backend.settings.embedded_database and shown < found['pushlog']['last_push_id']:
            raise Corrupt('the repository lacks public changesets of a push')

    def store() -> None:
        if takes_pushes and time.monotonic() - memory.get('stored', -_TRIED) >= _TRIED:
            delete.check(backend)
            memory['stored'] = time.monotonic()
        for key, size in probe:
            if backend.store.size(key) != size:
                raise Corrupt('the newest object is not there')

    for name, check in (('database', database), ('store', store)):
        found[name] = _outcome(repo.ui, check)
        found['ready'] &= found[name] == 'ok'
    return found


def _outcome(ui: Any, check: Callable[[], None]) -> str:
    """Return ``ok``, or the kind of the error; its text, which may name hosts, is for the log."""
    try:
        check()
    except Exception as exc:
        timings.note_failure(ui, 'ready', exc)
        return exc.kind if isinstance(exc, HeadlessError) else 'failed'
    return 'ok'
