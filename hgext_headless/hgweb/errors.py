"""Errors as hgweb's error pages: status, text, and a hint where to look and what still works."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from mercurial import error, templateutil
from mercurial.hgweb import common
from mercurial.node import hex

from .. import config, hgcompat, timings
from ..catalog import bans, names, statements
from ..errors import RETRY_AFTER, HeadlessError, Temporary, Unopened, clear_errors, file_failed
from ..timings import Stages
from .pushlog import decorate

#: hgweb has no constants for them.
_UNAVAILABLE, GONE = 503, 410


def hint(web: Any, name: bytes, **facts: Any) -> None:
    """Show the fragment ``name`` on the error page of a request. ``facts`` are its keywords."""
    web.tmpl.cache[b'pushloghint'] = decorate.fragments()[name]
    web.tmpl.defaults.update({fact.encode('ascii'): value for fact, value in facts.items()})


@contextlib.contextmanager
def shown(web: Any, stages: Stages) -> Iterator[None]:
    """Convert our errors to those that hgweb shows as an error page; note them in the log line."""
    try:
        yield
    except HeadlessError as exc:
        stages.note(**timings.failure(exc))
        line = hgcompat.to_bytes(exc.line(on_page=True))
        headers = []
        if exc.status == _UNAVAILABLE:
            headers.append(RETRY_AFTER)
            hint(web, b'pushlogunavailable', comesback=exc.kind == Temporary.kind)
        raise common.ErrorResponse(exc.status, line, headers) from exc
    except Unopened as exc:  # an overlay opens the repository
        stages.note(**timings.failure(exc))
        raise common.ErrorResponse(_UNAVAILABLE, exc.message, [RETRY_AFTER]) from exc


@contextlib.contextmanager
def obtained(app: Any) -> Iterator[Any]:
    """Yield the repository of an hgweb. Raise `Unopened` if a headless one has vanished."""
    with contextlib.ExitStack() as stack:
        try:
            repo = stack.enter_context(app._obtainrepo())
        except (OSError, error.RepoError) as exc:
            served = hgcompat.last_repository(app)
            if isinstance(exc, Unopened) or not config.participates(served):
                raise
            text = 'the repository cannot be opened'
            with clear_errors(Unopened, on_page=True):
                if isinstance(exc, OSError):
                    raise file_failed(text, exc) from exc
                raise Temporary(text, hgcompat.to_str(exc.args[0])) from exc
        yield repo


def answer_unopened(
    app: Any,
    chunks: Iterator[bytes],
    req: Any,
    res: Any,
    other: Callable[[], Iterator[bytes]] | None = None,
) -> Iterator[bytes]:
    """Answer that the repository cannot be opened any more: hgweb opens it anew when it changes.

    ``chunks`` are what hgweb answers; ``other`` answers instead what needs no repository. The line
    is in the status too, which clients print. The server's log is told which repository it is.
    """
    begun = False
    try:
        for chunk in chunks:
            begun = True
            yield chunk
    except Unopened as exc:
        if begun:
            raise
        where = hgcompat.to_str(hgcompat.last_repository(app).root)
        said = timings.failure(exc)
        timings.complain(req.rawenv, f'{where}: headless: {said["outcome"]}: {said["error"]}')
        if other is not None:
            yield from other()
            return
        line = b' '.join(exc.message.split())
        name, seconds = RETRY_AFTER
        res.status = common.statusmessage(_UNAVAILABLE, line)
        res.headers[name] = seconds
        res.headers[b'Content-Type'] = b'text/plain; charset=utf-8'
        res.setbodybytes(line + b'\n')
        yield from res.sendresponse()


def hgwebdir_templater(orig: Any, *args: Any) -> Any:
    """Define what the error page of paper, the default style, needs and hgwebdir does not have.

    Without it, a repository that cannot be opened is a traceback in the log.
    """
    made = orig(*args)
    made.defaults.setdefault(b'pathdef', templateutil.mappinglist([]))
    return made


def gone(web: Any, session: statements.Session, name: bytes) -> Exception:
    """Return the error for a draft that is gone."""
    tombstone = names.gone(session, name)
    line = b"changeset '%s' is gone" % hgcompat.escaped_bytes(name)
    if tombstone is not None:
        hint(
            web,
            b'pushlogwasgone',
            gonenode=hex(tombstone.node),
            gonepush=tombstone.push_id,
            goneremoved=tombstone.action == bans.OBLITERATE,
        )
        line += b': ' + hgcompat.to_bytes(names.fate(session, tombstone))
    return common.ErrorResponse(GONE, line)


def ambiguous(web: Any, name: bytes) -> Any:
    """Return the error for an ambiguous name. hgweb's own text is "revision not found"."""
    # The search finds hashes by as many digits.
    hint(web, b'pushlogambiguous' if len(name) > 3 else b'pushlogshort', unknownname=name)
    line = b"ambiguous identifier '%s'" % hgcompat.escaped_bytes(name)
    return common.ErrorResponse(common.HTTP_NOT_FOUND, line)
