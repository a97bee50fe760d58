"""Send a page when it is complete: an error before that gets an error page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from mercurial import error, util
from mercurial.hgweb import common

from ... import hgcompat

#: Maximum size in bytes of a page that is kept in memory.
_IN_MEMORY = 1 << 20


def send(web: Any, name: bytes, mapping: Mapping[bytes, Any]) -> Any:
    """Render a template of the request's style and answer with it.

    Raise hgweb's `ErrorResponse` (500) if it cannot be rendered.
    """
    if web.req.method != b'HEAD':
        web.res.setbodygen(_chunks(_rendered(web, name, mapping)))
    return web.res.sendresponse()


def _chunks(file: Any) -> Iterator[bytes]:
    with file:
        yield from util.filechunkiter(file)


def _rendered(web: Any, name: bytes, mapping: Mapping[bytes, Any]) -> Any:
    """Return the complete page in a file."""
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)
    try:
        for chunk in web.tmpl.generate(name, mapping):
            file.write(chunk)
    except (error.Abort, error.ProgrammingError, OSError) as exc:
        why = str(exc)
        if isinstance(exc, error.Abort):
            why = hgcompat.to_str(exc.message + (b' (%s)' % exc.hint if exc.hint else b''))
        style = hgcompat.to_str(web.tmpl.defaults[b'style'])
        line = f"the template '{hgcompat.to_str(name)}' of style '{style}' can't be rendered: {why}"
        raise common.ErrorResponse(
            common.HTTP_SERVER_ERROR, hgcompat.to_bytes(line)
        ) from exc
    file.seek(0)
    return file


def fail(web: Any, code: int, message: bytes) -> Any:
    """Answer with the style's error page or, if it cannot be rendered, with a line of text."""
    web.res.status = common.statusmessage(code)
    try:
        return send(web, b'error', {b'error': message})
    except common.ErrorResponse:
        web.res.headers[b'Content-Type'] = b'text/plain; charset=utf-8'
        web.res.setbodybytes(message + b'\n')
        return web.res.sendresponse()
