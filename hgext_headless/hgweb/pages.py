"""hgweb's pages of drafts. hgweb itself makes them, from a repository with the draft's bundle
laid over it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mercurial import archival, error, scmutil
from mercurial.hgweb import common, webcommands, webutil
from mercurial.node import hex

from .. import config, hgcompat, timings
from ..bundles import overlay as overlays
from ..catalog import names
from ..errors import HeadlessError
from ..model import Drafts
from ..timings import Stages
from ..wire import discovery
from . import errors, fates

#: Number of hexadecimal digits in hgweb's own links. A prefix of a public changeset that is as
#: long is resolved without a query to the database.
_SHORT = 12

#: The last date that Mercurial shows as it is.
_LAST_SECOND = 0x7FFFFFFF
#: Parameters that are a number of rows or lines, and the largest one: a page of all history takes
#: minutes and gigabytes.
_COUNTING, _MOST_ROWS = (b'revcount', b'context'), 5000
#: Number of lines, before and after a change, that a comparison side by side may have.
_MOST_COMPARED = 10_000
#: Commands whose path names no file: what is behind a slash belongs to the name of a changeset.
_WITHOUT_FILE = {'rev', 'changeset', 'changelog', 'shortlog', 'graph'}
#: Commands whose path names no changeset.
_WITHOUT_NODE = {'static', 'help'}
#: Commands that find drafts themselves, and commands that take several values of ``node``.
FIND_DRAFTS: set[str] = set()
NAME_SEVERAL = {'info'}
#: Maximum number of values of a parameter that names changesets or users.
MOST_NAMES = 100
#: The views of a repository that show the same and what is obsolete.
_WITH_OBSOLETE = {b'served': b'served.hidden', b'visible': None}
#: Parameters that name a changeset.
_NAMING = (b'node', b'filenode', b'head')


def install() -> None:
    """Lay drafts over the repository of a request once hgweb has checked its permissions.

    This is the first moment at which the request is parsed and an error becomes hgweb's page.
    """
    if _lay_named not in common.permhooks:
        common.permhooks.append(_lay_named)
    hgcompat.wrap_once(archival, 'archive', _archive)
    hgcompat.wrap_once(webcommands, 'comparison', _comparison)


def _archive(orig: Any, repo: Any, dest: Any, node: bytes, *args: Any, **kwargs: Any) -> Any:
    """Archive a changeset of any date: zip has no room for one after 2038, gzip before 1970."""
    seconds = repo[node].date()[0]
    if config.participates(repo) and not 0 <= seconds <= _LAST_SECOND:
        kwargs['mtime'] = _LAST_SECOND if seconds > 0 else 1
    return orig(repo, dest, node, *args, **kwargs)


def _comparison(orig: Any, web: Any) -> Any:
    """Compare a file side by side, unless it is long: that takes time quadratic in its lines."""
    path = web.req.qsparams.get(b'file')
    if path and config.participates(web.repo):
        context = webutil.changectx(web.repo, web.req)
        name = webutil.cleanpath(web.repo, path)
        both = [side[name] for side in (context, context.p1()) if name in side]
        if sum(file.data().count(b'\n') for file in both) > _MOST_COMPARED:
            line = b'the file has too many lines for a comparison: see its diff'
            raise common.ErrorResponse(common.HTTP_FORBIDDEN, line)
    return orig(web)


def _lay_named(rctx: Any, req: Any, operation: bytes | None) -> None:
    """Lay the drafts that a request names over its repository.

    ``operation`` is that of a request of the wire protocol, which finds drafts by itself.
    """
    repo = rctx.repo
    if config.participates(repo):
        _bound_numbers(req)
        for item in (b'rev', *_NAMING):
            given = req.qsparams.getall(item)
            if len(given) == 1:
                req.qsparams[item] = given[0].strip()  # as it was copied
    command = hgcompat.to_str(req.qsparams.get(b'cmd', b''))
    if operation is not None or command in _WITHOUT_NODE or not config.participates(repo):
        return
    if command in FIND_DRAFTS:
        _forget_tag(req)
        return
    words = {name for name in _names(req, command) if _may_be_a_word(req, name)}
    public = {name: _public(rctx, name, name in words) for name in _names(req, command)}
    unknown = {name for name, node in public.items() if node is None} - words
    asked = [
        name
        for name, node in public.items()
        if node is None or (len(name) < _SHORT and discovery.is_prefix(repo, name, node))
    ]
    if not asked:
        return
    stages = timed(rctx, 'page', command=command)
    with errors.shown(rctx, stages):
        try:
            with stages.stage('lookup'):
                catalog = repo.headless.read_catalog
                if not unknown:  # public pages are served without the database
                    catalog = catalog.fail_fast()
                with catalog.reading() as session:
                    drafts = names.drafts_named(session, asked)
                    for_people = rctx.tmpl.defaults[b'style'] != b'json'
                    facts = fates.facts(session, repo, drafts, for_people)
        except HeadlessError:
            if unknown:
                raise
            return  # public history is served without the database
        for name in words:
            if len({*drafts.nodes[name], public[name]} - {None}) > 1:
                drafts.nodes[name] = ()  # ambiguous: hgweb searches for the word
        for name, nodes in drafts.nodes.items():
            if len({*nodes, public[name]} - {None}) > 1:
                raise errors.ambiguous(rctx, name)
            if name in unknown and name in drafts.expired:
                with catalog.reading() as session:
                    raise errors.gone(rctx, session, name)
            if name in unknown and not nodes:
                rest = req.qsparams.get(b'file') if command in _WITHOUT_FILE else None
                whole = name + b'/' + rest if rest else name
                errors.hint(rctx, b'pushlogunknown', unknownname=whole)
        found = [nodes[0] for nodes in drafts.nodes.values() if nodes]
        found = [node for node in found if not repo.changelog.hasnode(node)]
        stages.note(drafts=len(found))
        if found:
            with stages.stage('lay'):
                lay(rctx, drafts, found, facts)
            _replace_bookmarks(req, drafts)


def _bound_numbers(req: Any) -> None:
    for item in _COUNTING:
        digits = req.qsparams.get(item, b'').replace(b'_', b'').strip().lstrip(b'+0')
        if digits.isdigit() and int(digits[:9]) > _MOST_ROWS:
            req.qsparams[item] = b'%d' % _MOST_ROWS


def timed(rctx: Any, event: str, **facts: Any) -> Stages:
    """Return the stages of a request, logged with its status when the last byte is sent."""
    stack = rctx.res.headless_stack
    stages: Stages = stack.enter_context(timings.logged(rctx.repo.ui, event, **facts))
    stack.callback(lambda: stages.note(status=rctx.res.status[:3]))
    return stages


def lay(
    rctx: Any,
    drafts: Drafts,
    nodes: Iterable[bytes],
    facts: fates.Facts | None = None,
) -> None:
    """Lay the bundles of the drafts ``nodes`` over the repository of a request.

    Its page shows ``facts``.
    """
    repo = rctx.repo
    bundles = {drafts.bundles[node].key: drafts.bundles[node] for node in nodes}
    source = repo.headless.cached_store
    overlay = rctx.res.headless_stack.enter_context(
        overlays.opened(repo, source, list(bundles.values()))
    )
    overlays.name_public_history(overlay, repo)
    overlay.headless_brought = drafts.brought
    overlay.draft_bookmarks = drafts.bookmarks
    overlay.headless_facts = facts or fates.Facts()
    # A request is in memory until the next garbage collection; its overlay must not be.
    rctx.res.headless_stack.callback(_turn_to, rctx, repo)
    # A draft that a public changeset has replaced has its page too.
    view = _WITH_OBSOLETE.get(repo.filtername, repo.filtername)
    _turn_to(rctx, overlay.filtered(view) if view else overlay)
    _list_ancestors(rctx.repo.changelog, len(repo.unfiltered().changelog))
    _forget_tag(rctx.req)


def _list_ancestors(changelog: Any, public: int) -> None:
    """Let a list that begins with a draft go on with its ancestors, as the log and the graph do.

    By the order of numbers, newer public changesets come next, as if it were built on them.
    ``public`` is the number of public revisions.
    """
    orig = changelog.revs

    def revs(start: int = 0, stop: int | None = None) -> Iterator[int]:
        if stop is None or not public <= start >= stop:
            return orig(start, stop)
        drafts, bases, pending = {start}, {-1}, [start]
        while pending:
            for rev in changelog.parentrevs(pending.pop()):
                if rev < public:
                    bases.add(rev)
                elif rev not in drafts:
                    drafts.add(rev)
                    pending.append(rev)
        base = max(bases)
        below = orig(base, stop) if base >= stop else ()
        listed = (rev for rev in sorted(drafts, reverse=True) if rev >= stop)
        return itertools.chain(listed, below)

    changelog.revs = revs


def _turn_to(rctx: Any, repo: Any) -> None:
    """Make ``repo`` the repository of a request and of the templates of its page."""
    rctx.repo = repo
    hgcompat.template_repository(rctx.tmpl, repo)


def _forget_tag(req: Any) -> None:
    """Ignore the client's ETag: hgweb's depends on the repository, not on the database."""
    del req.headers[b'If-None-Match']


def values(req: Any, item: bytes) -> list[bytes]:
    """Return the names in a parameter that may be repeated. Raise `ErrorResponse` (400)."""
    found: list[bytes] = req.qsparams.getall(item)
    if len(found) > MOST_NAMES:
        text = b"more than %d values of '%s'" % (MOST_NAMES, item)
        raise common.ErrorResponse(common.HTTP_BAD_REQUEST, text)
    return found


def _names(req: Any, command: str) -> Iterator[bytes]:
    """Yield the names of changesets in a request; of a range (``base:node``), both names.

    If a parameter is repeated, hgweb uses the last value.
    """
    if command in NAME_SEVERAL:
        yield from filter(None, values(req, b'node'))
    for item in _NAMING:
        yield from filter(None, req.qsparams.get(item, b'').split(b':', 1))
    searched = req.qsparams.get(b'rev', b'')
    if re.fullmatch(rb'[0-9a-fA-F]{4,40}', searched):  # a search may be for words too
        yield searched


def _may_be_a_word(req: Any, name: bytes) -> bool:
    """Return whether ``name`` may be a word to search for: then it need not name a changeset."""
    return len(name) < _SHORT and name == req.qsparams.get(b'rev')


def _public(rctx: Any, name: bytes, may_be_a_word: bool) -> bytes | None:
    try:
        node: bytes = scmutil.revsymbol(rctx.repo, name).node()
    except error.AmbiguousPrefixLookupError as exc:
        if may_be_a_word:
            return None
        raise errors.ambiguous(rctx, name) from exc
    except (error.RepoLookupError, error.LookupError):
        return None
    return node


def _replace_bookmarks(req: Any, drafts: Drafts) -> None:
    """Replace the names of drafts by hashes: the overlay has no bookmarks of the database."""

    def replaced(name: bytes) -> bytes:
        nodes = drafts.nodes.get(name, ())
        return name if not nodes or hex(nodes[0]).startswith(name) else hex(nodes[0])

    for item in _NAMING:
        given = req.qsparams.getall(item)
        if given:
            del req.qsparams[item]
        for value in given:
            req.qsparams.add(item, b':'.join(map(replaced, value.split(b':', 1))))
