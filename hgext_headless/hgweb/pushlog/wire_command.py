"""The wire commands by which clients with Mozilla's pushlog extension copy the pushlog.

The protocol is that of ``hgext/pushlog`` in Mozilla's version-control-tools. The answer to
``pushlog-stream`` is a line for each push from the id ``firstpush`` on, with its id, user, date
and changesets, and a line ``ok``, or ``error`` with what failed. That to ``pushlog``, which older
clients ask, begins with a line ``1``, or is a line ``0`` and a line that says what failed.

A client stops before the first push that lists a changeset which it has not, asks from there at
its next pull, and gives up a pull of which the pushlog fails. So these list what a plain pull
brings, and end early where the database does not answer.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

from mercurial import wireprototypes, wireprotov1server
from mercurial.node import hex

from ... import config, hgcompat, timings
from ...catalog import pushlog
from ...errors import HeadlessError
from ...model import Selection
from . import visibility
from .query import MAX_ID

_ARGS, _PERMISSION = b'firstpush', b'pull'
#: Number of pushes in one query.
_BATCH = 500

#: The commands of these names of another extension, for repositories that are not headless.
_others: dict[bytes, Callable[..., Any]] = {}


def install() -> None:
    """Register the commands. What another extension has registered stays in use beside them."""
    commands = wireprotov1server.commands
    for name, ours in _OURS.items():
        if name not in commands:
            wireprotov1server.wireprotocommand(name, _ARGS, permission=_PERMISSION)(ours)
        elif commands[name].func is not ours:
            _others[name] = commands[name].func
            commands[name] = (ours, _ARGS)
    hgcompat.wrap_once(wireprotov1server, 'wireprotocommand', _declare)
    hgcompat.wrap_once(wireprotov1server, '_capabilities', _capabilities)


def _declare(orig: Any, name: bytes, *args: Any, **kwargs: Any) -> Any:
    """Let an extension that is loaded later declare commands of these names."""
    if name not in _OURS:
        return orig(name, *args, **kwargs)

    def register(func: Any) -> Any:
        _others[name] = func
        return func

    return register


def _capabilities(orig: Any, repo: Any, proto: Any) -> list[bytes]:
    found: list[bytes] = orig(repo, proto)
    if config.participates(repo):
        found += [name for name in _OURS if name not in found]
    return found


def leave_to_hgweb(req: Any) -> None:
    """Let hgweb say of our commands that it has none, as stock does in an ordinary repository."""
    name = req.qsparams.get(b'cmd')
    if name in _OURS and name not in _others:
        req.qsparams[b'cmd'] = b'unknown'


def complete(req: Any) -> None:
    """Add the argument that a request lacks, which Mercurial would answer with a traceback."""
    if req.qsparams.get(b'cmd') in _OURS and _ARGS not in req.qsparams:
        req.qsparams.add(_ARGS, b'')  # an argument in a header counts more


def _elsewhere(name: bytes, repo: Any, proto: Any, firstpush: bytes) -> Any:
    """Return the answer in an ordinary repository: over ssh, that to an unknown command."""
    other = _others.get(name)
    return wireprototypes.bytesresponse(b'') if other is None else other(repo, proto, firstpush)


def _number(text: bytes) -> int:
    """Return the push id that a client names. Raise `ValueError`."""
    if not re.fullmatch(rb'[+-]?[0-9]{1,99}', text):
        raise ValueError(f"not a push id: '{hgcompat.escaped(text[:100])}'")
    return int(text)


def _pushlog(repo: Any, proto: Any, firstpush: bytes) -> Any:
    """Return ``headless.pushlog-limit`` pushes at most: clients ask for more at their next pull."""
    if not config.participates(repo):
        return _elsewhere(b'pushlog', repo, proto, firstpush)
    try:
        lines = _lines(repo, _number(firstpush))
    except ValueError as exc:
        return wireprototypes.bytesresponse(b'0\n' + hgcompat.to_bytes(str(exc)))
    limit = repo.headless.settings.pushlog_limit or None
    return wireprototypes.bytesresponse(
        b'\n'.join(itertools.chain([b'1'], itertools.islice(lines, limit)))
    )


def _pushlog_stream(repo: Any, proto: Any, firstpush: bytes) -> Any:
    if not config.participates(repo):
        return _elsewhere(b'pushlog-stream', repo, proto, firstpush)
    lines: Iterator[bytes]
    try:
        lines = itertools.chain(_lines(repo, _number(firstpush)), [b'ok'])
    except ValueError as exc:
        lines = iter([b'error ' + hgcompat.to_bytes(str(exc))])
    # Clients read it line by line, which those of the other type, compressed, do not offer.
    return wireprototypes.streamreslegacy(gen=(line + b'\n' for line in lines))


_OURS = {b'pushlog': _pushlog, b'pushlog-stream': _pushlog_stream}


def _lines(repo: Any, first: int) -> Iterator[bytes]:
    """Yield a line for each push from the id ``first`` on that brought what the repository has.

    End early if the database fails.
    """
    after = start = min(max(first, 1) - 1, MAX_ID)
    history = (len(repo), repo.changelog.tip())
    try:
        backend = repo.headless
        with backend.read_catalog.reading() as session:
            last = visibility.last_shown(backend, session, repo)
        # Pushes of drafts are many, and after the last public one clients ask for them each time.
        memory = backend.read_catalog.memory('drafts only', repo.root)
        while after < last:
            of, low, high = memory.get('run', (None, 0, 0))
            if of == history and low <= after < high:
                start, after = low, high
                continue
            batch = _batch(repo, after, last)
            if not batch:
                return
            for push_id, line in batch:
                if line:
                    start = push_id
                    yield line
            after = batch[-1][0]
            if of != history or after - start > high - low:
                memory['run'] = (history, start, after)
    except HeadlessError as exc:
        timings.note_failure(repo.ui, 'pushlog', exc)


def _batch(repo: Any, after: int, last: int) -> list[tuple[int, bytes]]:
    """Return ids and lines of the next pushes; a line is empty where it would list nothing.

    Each batch is a session of its own: a client that reads slowly holds no connection.
    """
    has_node = repo.changelog.hasnode
    with repo.headless.read_catalog.reading() as session:
        # The database may be one of several replicas, another one each time.
        upto = min(last, pushlog.last_push_id(session))
        selection = Selection(after=after, upto=upto)
        following = pushlog.entries(session, selection, newest=False, limit=_BATCH)
        entries = next(pushlog.together(session, following), [])
        nodes = pushlog.nodes_of(session, [entry.push_id for entry in entries])
    found = []
    for entry in entries:
        listed = b' '.join(hex(node) for node, _extras in nodes[entry.push_id] if has_node(node))
        user = b'_'.join(entry.user.split()) or b'-'
        line = b'%d %s %d %s' % (entry.push_id, user, entry.date, listed)
        found.append((entry.push_id, line if listed else b''))
    return found
