"""The web commands of the pushlog, and what build tasks ask of a changeset."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from mercurial import error, pycompat
from mercurial.hgweb import common, webcommands

from ... import config, hgcompat
from ...model import Entry
from ...timings import Stages
from .. import errors, pages
from . import (
    automationrelevance as relevance,
    decorate,
    html_format,
    json_format,
    push_page,
    query as queries,
    visibility,
)

#: Maximum size in bytes of a page that is kept in memory.
_IN_MEMORY = 1 << 20
#: Parameters that name one changeset.
_NAMING = (b'changeset', b'fromchange', b'tochange', b'node')
#: The commands by name. They wrap those of another extension, for its repositories.
_COMMANDS: dict[str, Callable[..., Any]] = {}
#: The styles of those that have one of their own.
_STYLES: dict[bytes, bytes] = {}


def _command(style: bytes | None = None, finds_drafts: bool = True) -> Callable[[Any], Any]:
    """Make a web command that answers in ``style``, or in the style of the request.

    Unless it ``finds_drafts`` itself, drafts are laid over the repository, as for hgweb's own
    commands. In a repository that is not headless, hgweb does not know the command.
    """

    def add(function: Any) -> Any:
        @functools.wraps(function)
        def run(orig: Any, web: Any) -> Any:
            if not config.participates(web.repo):
                return orig(web)
            if style not in (None, web.tmpl.defaults[b'style']):
                raise common.ErrorResponse(common.HTTP_NOT_FOUND, b'no pushlog in this style')
            # hgweb's ETag depends on the repository, not on the pushlog.
            del web.res.headers[b'ETag']
            query = web.req.querystring or None
            stages = pages.timed(web, 'pushlog', command=function.__name__, query=query)
            try:
                with errors.shown(web, stages):
                    return function(web, stages)
            except error.AmbiguousPrefixLookupError as exc:
                found = errors.ambiguous(web, exc.name)
                return _fail(web, found.code, found.message)
            except (error.LookupError, error.RepoLookupError) as exc:
                named = (web.req.qsparams.get(item, b'') for item in _NAMING)
                errors.hint(web, b'pushlogunknown', unknownname=next(filter(None, named), b''))
                return _fail(web, common.HTTP_NOT_FOUND, pycompat.bytestr(exc))
            except common.ErrorResponse as exc:
                for name, value in exc.headers:
                    web.res.headers[name] = value
                return _fail(web, exc.code, exc.message)

        name = function.__name__
        _COMMANDS[name] = run
        if style is not None:
            _STYLES[pycompat.sysbytes(name)] = style
        if finds_drafts:
            pages.FIND_DRAFTS.add(name)
        return run

    return add


def choose_style(req: Any) -> None:
    """Set the style of a request for a command that has its own, before hgweb reads templates."""
    path = req.querystring.partition(b'&')[0] if req.dispatchpath is None else req.dispatchpath
    asked = req.qsparams.get(b'cmd') or path.partition(b'/')[0]
    style = _STYLES.get(asked.rpartition(b'-')[2])
    if style is not None:
        req.qsparams[b'style'] = style


@_command(b'json')
def pushes(web: Any, stages: Stages) -> Any:
    """
    /json-pushes[/{page}]
    ---------------------

    The pushes to this repository, as JSON.

    ``startID``, ``endID``, ``startdate``, ``enddate``, ``fromchange``, ``tochange``,
    ``user``, ``changeset`` and ``branch`` select pushes; without any of them, the last
    ten are shown. ``search`` finds words in the description or author of a changeset,
    the beginning of its hash, a part of the name of who pushed it, of its branch, of a
    bookmark or of a tag, a day, or a time since when; ``author`` finds words in its author; ten
    pushes are shown on a page, the last ones first.
    ``full``, ``tipsonly=1`` and ``version`` set how much of each push is shown.

    Changesets that have expired or were removed are listed by their hashes; with
    ``full``, they are left out.
    """
    query, found, last = _found(web, stages)
    return _send(web, json_format.answer(web.repo, query, found, last))


@_command(b'atom')
def pushlog(web: Any, stages: Stages) -> Any:
    """
    /pushlog
    --------

    The pushes to this repository, as an Atom feed. Takes what ``json-pushes`` takes.
    """
    return _page(web, stages, html_format.feed)


@_command()
def pushloghtml(web: Any, stages: Stages) -> Any:
    """
    /pushloghtml[/{page}]
    ---------------------

    The pushes to this repository. Takes what ``json-pushes`` takes; those of a
    ``user`` are paged too.
    """
    is_feed = web.tmpl.defaults[b'style'] == b'atom'
    return _page(web, stages, html_format.feed if is_feed else html_format.page)


@_command()
def push(web: Any, stages: Stages) -> Any:
    """
    /push/{id}
    ----------

    One push: its changesets, its files, and one diff of all that it changes.

    ``raw-push/{id}`` is the diff as text. The diff of a push with several heads is that of the
    last one; ``head={node}`` names another one.
    """
    backend, params = web.repo.headless, web.req.qsparams
    asked = b'/'.join(params[item] for item in (b'node', b'file') if params.get(item))
    with stages.stage('find'), backend.read_catalog.reading() as session:
        last = visibility.last_shown(backend, session, web.repo)
        query = queries.of_push(asked, last)
        found = queries.entries(backend, session, query)
    if not found:
        line = b"unknown push '%s'" % hgcompat.escaped_bytes(asked)
        raise common.ErrorResponse(common.HTTP_NOT_FOUND, line)
    style = web.tmpl.defaults[b'style']
    if style == b'raw':
        return _raw_push(web, found[0])
    if style == b'atom':  # it has a feed of pushes, and no page of one
        raise common.ErrorResponse(common.HTTP_NOT_FOUND, b'no pushlog in this style')
    return _push_page(web, query, found[0], last)


def _push_page(web: Any, query: queries.Query, entry: Entry, last: int) -> Any:
    decorate.add_pushlog(web.tmpl)
    return _send_page(web, b'pushlog', html_format.push(web, query, entry, last))


def _raw_push(web: Any, entry: Entry) -> Any:
    with web.repo.headless.read_catalog.reading() as session:
        changesets, size = push_page.found(session, entry.push_id)
    if not push_page.heads(changesets):
        line = b'the changesets of push %d are gone' % entry.push_id
        raise common.ErrorResponse(errors.GONE, line)
    web.tmpl.cache[b'push'] = b'{diff}'
    return _send_page(web, *push_page.raw(web, entry, changesets, size))


def _found(web: Any, stages: Stages, **options: bool) -> tuple[queries.Query, list[Entry], int]:
    """Return the query (see `query.parse`), what matches, and the highest push id shown."""
    backend = web.repo.headless
    with stages.stage('find'), backend.read_catalog.reading() as session:
        last = visibility.last_shown(backend, session, web.repo)
        query = queries.parse(session, web.repo, web.req, last, **options)
        found = queries.entries(backend, session, query)
    stages.note(pushes=len(found))
    return query, found, last


def _page(web: Any, stages: Stages, mapping: Any) -> Any:
    decorate.add_pushlog(web.tmpl)
    for_people = mapping is html_format.page
    query, found, last = _found(web, stages, newest=True, for_people=for_people)
    if for_people and query.is_one and len(found) == 1:
        return _push_page(web, query, found[0], last)
    return _send_page(web, b'pushlog', mapping(web, query, found[::-1], last))


@_command(b'json')
def automationrelevance(web: Any, stages: Stages) -> Any:
    """
    /json-automationrelevance/{node}
    --------------------------------

    The changesets that automation has to look at for a changeset: those up to it in
    its push, and its draft ancestors.
    """
    return _send(web, relevance.answer(web))


@_command(b'json')
def pushchangedfiles(web: Any, stages: Stages) -> Any:
    """
    /json-pushchangedfiles/{node}
    -----------------------------

    The names of the files that the changesets of ``json-automationrelevance`` change.
    """
    return _send(web, relevance.changed_files(web))


def _send(web: Any, chunks: Any) -> Any:
    if web.req.method != b'HEAD':
        web.res.setbodygen(chunks)
    return web.res.sendresponse()


@_command(b'json', finds_drafts=False)
def info(web: Any, stages: Stages) -> Any:
    """
    /json-info?node={node}
    ----------------------

    The facts about one or more changesets, by the first 12 digits of their nodes.
    """
    return _send(web, relevance.info(web))


@_command(b'json', finds_drafts=False)
def isancestor(web: Any, stages: Stages) -> Any:
    """
    /json-isancestor?head={head}&node={node}
    ----------------------------------------

    Whether a changeset is an ancestor of another one, or the same.
    """
    return _send(web, relevance.is_ancestor(web))


def _send_page(web: Any, name: bytes, mapping: Mapping[bytes, Any]) -> Any:
    """Answer with a template of the request's style. Raise hgweb's `ErrorResponse` (500)."""
    if web.req.method != b'HEAD':
        web.res.setbodygen(hgcompat.file_chunks(_rendered(web, name, mapping)))
    return web.res.sendresponse()


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
        raise common.ErrorResponse(common.HTTP_SERVER_ERROR, hgcompat.to_bytes(line)) from exc
    file.seek(0)
    return file


def _fail(web: Any, code: int, message: bytes) -> Any:
    """Answer with the style's error page or, if it cannot be rendered, with a line of text."""
    web.res.status = common.statusmessage(code)
    try:
        return _send_page(web, b'error', {b'error': message})
    except common.ErrorResponse:
        web.res.headers[b'Content-Type'] = b'text/plain; charset=utf-8'
        web.res.setbodybytes(message + b'\n')
        return web.res.sendresponse()


def install() -> None:
    """Register the commands with hgweb.

    What another extension has under these names, perhaps since the last time, stays in use for
    other repositories.
    """
    for name, run in _COMMANDS.items():
        if not hasattr(webcommands, name):
            setattr(webcommands, name, _unknown)
            webcommands.webcommand(pycompat.sysbytes(name))(run)
        hgcompat.wrap_once(webcommands, name, run)


def _unknown(web: Any) -> Any:
    raise common.ErrorResponse(common.HTTP_BAD_REQUEST, b'method not found')
