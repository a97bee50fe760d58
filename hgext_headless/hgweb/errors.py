"""Errors as hgweb's error pages: status, text, and a hint where to look and what still works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from mercurial.hgweb import common
from mercurial.node import hex

from .. import hgcompat
from ..catalog import names, statements
from ..errors import RETRY_AFTER, HeadlessError
from .pushlog import decorate

_UNAVAILABLE = 503
_STATUS = {
    'refused': common.HTTP_FORBIDDEN,
    'temporary': _UNAVAILABLE,
    'misconfigured': _UNAVAILABLE,
    'corrupt': _UNAVAILABLE,
}

#: hgweb has no constant for this status.
GONE = 410


def hint(web: Any, name: bytes, **facts: Any) -> None:
    """Show the fragment ``name`` on the error page of a request. ``facts`` are its keywords."""
    web.tmpl.cache[b'pushloghint'] = decorate.fragments()[name]
    web.tmpl.defaults.update({fact.encode('ascii'): value for fact, value in facts.items()})


@contextlib.contextmanager
def shown(web: Any) -> Iterator[None]:
    """Convert our errors to those that hgweb shows as an error page."""
    try:
        yield
    except HeadlessError as exc:
        line = hgcompat.to_bytes(exc.line())
        status = _STATUS[exc.kind]
        headers = []
        if status == _UNAVAILABLE:
            headers.append(RETRY_AFTER)
            hint(web, b'pushlogunavailable')
        raise common.ErrorResponse(status, line, headers) from exc


def gone(web: Any, session: statements.Session, name: bytes) -> Exception:
    """Return the error for a draft that expired or was obliterated."""
    tombstone = names.gone(session, name)
    line = b"changeset '%s' is gone" % hgcompat.escaped_bytes(name)
    if tombstone is not None:
        hint(
            web,
            b'pushlogwasgone',
            gonenode=hex(tombstone.node),
            gonepush=tombstone.push_id,
            goneremoved=tombstone.removed is not None,
        )
        line += b': ' + hgcompat.to_bytes(names.fate(session, tombstone))
    return common.ErrorResponse(GONE, line)


def ambiguous(name: bytes) -> Exception:
    """Return the error for an ambiguous name. hgweb's own text is "revision not found"."""
    return common.ErrorResponse(
        common.HTTP_NOT_FOUND, b"ambiguous identifier '%s'" % hgcompat.escaped_bytes(name)
    )
