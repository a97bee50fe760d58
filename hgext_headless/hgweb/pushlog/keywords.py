"""Template keywords and revsets: which push brought a changeset, and what its description names."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mercurial import (
    encoding,
    error,
    exthelper,
    registrar,
    revset,
    scmutil,
    smartset,
    templateutil,
)
from mercurial.i18n import _
from mercurial.node import bin, hex
from mercurial.utils import dateutil

from ... import config, errors, timings
from ...catalog import pushlog
from ...errors import HeadlessError
from ...model import PushOf
from .. import fates
from . import links

eh = exthelper.exthelper()

_CACHE = b'headless_brought'
_CACHE_OF_ENDS = b'headless_brought_ends'
#: Number of revisions in one query: pages and logs show them in order.
_WINDOW = 64
_REVSET_WINDOW = 500
#: Number of the newest changesets that a search in hgweb reads.
_WEB_WINDOW = 20_000
#: Number of changesets, a changeset included, among which to look for a back-out of it.
_BACKOUT_WITHIN = 100
#: Number of revisions among which these are looked for.
_BACKOUT_AMONG = 2000


def _keyword(name: bytes, doc: str, value: Callable[[PushOf], Any], of_ends: bool = False) -> None:
    def keyword(context: Any, mapping: Any) -> Any:
        brought = _brought(context, mapping, of_ends)
        return None if brought is None else value(brought)

    keyword.__doc__ = doc
    eh.templatekeyword(name, requires={b'repo', b'ctx', b'cache'})(keyword)
    KEYWORDS[name] = keyword


#: The keywords by name.
KEYWORDS: dict[bytes, Any] = {}

_keyword(
    b'pushid',
    'Integer. The id of the push that brought the changeset.',
    lambda brought: brought.entry.push_id,
)
_keyword(
    b'pushuser',
    'String. Who pushed the changeset.',
    lambda brought: encoding.tolocal(brought.entry.user),
)
_keyword(
    b'pushdate',
    'Date information. When the changeset was pushed.',
    lambda brought: templateutil.date((brought.entry.date, 0)),
)
_keyword(
    b'pushbasenode',
    'String. The first changeset that was pushed with the changeset.',
    lambda brought: hex(brought.base),
    of_ends=True,
)
_keyword(
    b'pushheadnode',
    'String. The last changeset that was pushed with the changeset.',
    lambda brought: hex(brought.head),
    of_ends=True,
)


class Backouts:
    """Knows which changesets of a repository were backed out, by descriptions as in `links`."""

    def __init__(self, repo: Any, for_people: bool = False) -> None:
        self._repo = repo
        self._for_people = for_people
        self._named: dict[int, list[str]] = {}

    def of(self, context: Any) -> bytes | None:
        """Return the first descendant whose description says that it backs out ``context``.

        Look for it among the next descendants only.
        """
        rev = context.rev()
        if rev is None:
            return None  # the working directory
        short = context.hex()[:12].decode('ascii')
        changelog = self._repo.changelog
        descendants = {rev}
        for other in range(rev + 1, min(len(changelog), rev + _BACKOUT_AMONG)):
            if other in changelog.filteredrevs:
                continue
            if descendants.isdisjoint(changelog.parentrevs(other)):
                continue
            if any(map(short.startswith, self._backs_out(other))):
                return self._repo[other].hex()
            descendants.add(other)
            if len(descendants) == _BACKOUT_WITHIN:
                break
        return None

    def _backs_out(self, rev: int) -> list[str]:
        if rev not in self._named:
            text = self._repo[rev].description().decode('utf-8', 'replace')
            self._named[rev] = links.backed_out(text, self._for_people)
        return self._named[rev]


@eh.templatekeyword(b'backedoutby', requires={b'ctx'})
def backedoutby(context: Any, mapping: Any) -> bytes | None:
    """String. The changeset that backed this one out."""
    return _backout(context.resource(mapping, b'ctx'), context.symbol(mapping, b'style'))


def _facts(changed: Any) -> fates.Facts:
    facts: fates.Facts = getattr(changed.repo().unfiltered(), 'headless_facts', fates.Facts())
    return facts


def _backout(changed: Any, style: Any) -> bytes | None:
    """Return what backs a changeset out: for the page of a draft, as the pushlog has it."""
    node = _facts(changed).backouts.get(scmutil.binnode(changed))
    return hex(node) if node else Backouts(changed.repo(), style != b'json').of(changed)


#: The keywords by name. hgweb's pages have them, ``hg log`` does not.
WEB_KEYWORDS: dict[bytes, Any] = {}
web_keyword = registrar.templatekeyword(WEB_KEYWORDS)


def mappings(
    found: Iterable[links.Link], more: Callable[[links.Link], dict[bytes, str]] = lambda link: {}
) -> Any:
    """Return links in the form of templates, with ``more`` keywords; no URL is an empty one."""

    def mapping(link: links.Link) -> dict[bytes, bytes]:
        texts = {b'label': link.label, b'link': link.url or '', **more(link)}
        return {k: local(v) for k, v in texts.items()}

    return templateutil.mappinglist([mapping(link) for link in found])


def local(shown: str) -> bytes:
    """Return a text in the encoding of this server."""
    return encoding.tolocal(shown.encode('utf-8', 'replace'))


def text(data: bytes) -> str:
    """Decode bytes of Mercurial, which are in the encoding of this server."""
    try:
        utf8: bytes = encoding.fromlocal(data)
    except error.Abort:  # it is not in this encoding
        utf8 = data
    return utf8.decode('utf-8', 'replace')


def _description(context: Any, mapping: Any) -> str:
    return text(context.resource(mapping, b'ctx').description())


def _links(context: Any, mapping: Any) -> links.Links:
    return links.configured(context.resource(mapping, b'repo').ui)


@web_keyword(b'bugs', requires={b'repo', b'ctx'})
def bugs(context: Any, mapping: Any) -> Any:
    """The bugs that the description names: ``label`` and ``link``.

    Also ``no`` and ``url``, as on hg.mozilla.org.
    """
    found = _links(context, mapping).bugs(_description(context, mapping))
    return mappings(
        found, lambda bug: {b'no': bug.label, b'url': bug.url or links.BUG_URL % bug.label}
    )


@web_keyword(b'reviewers', requires={b'repo', b'ctx'})
def reviewers(context: Any, mapping: Any) -> Any:
    """The reviewers that the description names: ``label`` and ``link``.

    Also ``name`` and ``revset``, as on hg.mozilla.org.
    """
    found = _links(context, mapping).reviewers(_description(context, mapping))
    return mappings(found, lambda link: {b'name': link.label, b'revset': f'reviewer({link.label})'})


def named(repo: Any, name: bytes) -> bytes | None:
    """Return the changeset of a repository that a hash, whole or short, names; None: not one."""
    with contextlib.suppress(error.LookupError, error.WdirUnsupported):
        found: bytes | None = scmutil.resolvehexnodeidprefix(repo, name)
        return found
    return None


@web_keyword(b'backsoutnodes', requires={b'ctx'})
def backsoutnodes(context: Any, mapping: Any) -> Any:
    """The changesets that this one backs out, if they are here: ``node``."""
    repo = context.resource(mapping, b'ctx').repo()
    backed_out = links.backed_out(_description(context, mapping), for_people=True)
    nodes = (named(repo, name.encode('ascii')) for name in backed_out)
    return templateutil.mappinglist([{b'node': hex(node)} for node in nodes if node is not None])


@web_keyword(b'descriptionlinks', requires={b'repo', b'ctx'})
def descriptionlinks(context: Any, mapping: Any) -> Any:
    """The links for what the patterns of ``[headless-links]`` find in the description."""
    return mappings(_links(context, mapping).matches(_description(context, mapping)))


@web_keyword(b'pushlinks', requires={b'repo', b'ctx', b'cache'})
def pushlinks(context: Any, mapping: Any) -> Any:
    """The links of the push that brought the changeset."""
    configured = links.configured(context.resource(mapping, b'repo').ui)
    brought = configured.pushes and _brought(context, mapping, configured.need_node)
    if not brought:
        return templateutil.mappinglist([])
    entry = brought.entry
    user = entry.user.decode('utf-8', 'replace')
    return mappings(configured.of_push(entry.push_id, user, brought.head.hex()))


def _fates(context: Any, mapping: Any) -> Sequence[fates.Fate]:
    changed = context.resource(mapping, b'ctx')
    return _facts(changed).became.get(scmutil.binnode(changed), ())


@web_keyword(b'fates', requires={b'ctx'})
def fates_of(context: Any, mapping: Any) -> Any:
    """What became of an obsolete draft, like Mercurial's ``succsandmarkers``."""
    return fates.mappings(_fates(context, mapping))


@web_keyword(b'replacedby', requires={b'ctx'})
def replacedby(context: Any, mapping: Any) -> Any:
    """The changesets that replaced an obsolete draft."""
    return fates.replacements(_fates(context, mapping))


@web_keyword(b'replaces', requires={b'ctx'})
def replaces(context: Any, mapping: Any) -> Any:
    """The changesets that a draft replaces, of those that were pushed: ``node``."""
    changed = context.resource(mapping, b'ctx')
    found = _facts(changed).replaced.get(scmutil.binnode(changed), ())
    return templateutil.hybridlist(list(map(hex, found)), name=b'node')


@web_keyword(b'relandedby', requires={b'ctx'})
def relandedby(context: Any, mapping: Any) -> bytes | None:
    """String. The changeset that backed out what backed this one out."""
    changed = context.resource(mapping, b'ctx')
    style = context.symbol(mapping, b'style')
    backout = _backout(changed, style)
    known = backout and _facts(changed).backouts.get(bin(backout))
    if known:
        return hex(known)
    repo = changed.repo()
    is_here = backout and repo.changelog.hasnode(bin(backout))
    return _backout(repo[backout], style) if is_here else None


def of_pages() -> dict[bytes, Any]:
    """Return all keywords that hgweb's pages have, by name."""
    return {
        **KEYWORDS,
        **WEB_KEYWORDS,
        b'backedoutby': backedoutby,
        # The names in Mozilla's styles.
        b'pushhead': KEYWORDS[b'pushheadnode'],
        b'backedoutbynode': backedoutby,
    }


def _brought(context: Any, mapping: Any, with_ends: bool) -> PushOf | None:
    repo = context.resource(mapping, b'repo')
    if not config.participates(repo):
        return None
    cache = context.resource(mapping, b'cache')
    key = _CACHE_OF_ENDS if with_ends else _CACHE
    if key not in cache:
        # What an overlay was laid for is known.
        known = {} if with_ends else getattr(repo.unfiltered(), 'headless_brought', {})
        cache[key] = dict(known)
    found: dict[bytes, PushOf | None] = cache[key]
    changed = context.resource(mapping, b'ctx')
    if changed.rev() is None:
        return None  # the working directory
    node = scmutil.binnode(changed)
    if node not in found:
        changelog = repo.unfiltered().changelog
        rev = changelog.rev(node)
        nodes = [node, *map(changelog.node, range(max(0, rev - _WINDOW), rev))]
        found.update(_asked(repo, nodes, with_ends))
    return found[node]


def _asked(repo: Any, nodes: Sequence[bytes], with_ends: bool) -> dict[bytes, PushOf | None]:
    """Return the pushes of ``nodes``; None for all if the database fails: pages need none."""
    answer: dict[bytes, PushOf | None] = dict.fromkeys(nodes)
    try:
        with repo.headless.read_catalog.fail_fast().reading() as session:
            answer.update(pushlog.brought(session, nodes, with_ends))
    except HeadlessError as exc:
        timings.note_failure(repo.ui, 'pushlog', exc)
    return answer


def _read(repo: Any, question: Callable[..., Any], argument: Any) -> Any:
    with errors.clear_errors(on_page=True):
        return repo.headless.read_catalog.read(question, argument)


def _predicate(declaration: bytes) -> Callable[[Any], Any]:
    """Register a revset with an argument or none, which hgweb's search may use.

    It is empty in a repository that is not headless.
    """
    name, _parenthesis, rest = declaration.partition(b'(')
    number = 0 if rest == b')' else 1
    wrong = name + (b' requires one argument' if number else b' takes no arguments')

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def run(repo: Any, subset: Any, x: Any) -> Any:
            if not config.participates(repo):
                return smartset.baseset()
            return function(repo, subset, *revset.getargs(x, number, number, wrong))

        return eh.revsetpredicate(declaration, safe=True)(run)

    return decorate


def _bounded(repo: Any, revs: Any) -> Any:
    """Return those of ``revs`` that a search of the web may ask about: the newest."""
    if b'REQUEST_METHOD' not in repo.ui.environ:
        return revs
    return revs & smartset.spanset(repo, max(0, len(repo) - _WEB_WINDOW))


def _filtered(repo: Any, subset: Any, matches: Callable[[bytes, PushOf], bool]) -> Any:
    """Return the changesets for which ``matches`` is true of their node and their push."""
    changelog = repo.unfiltered().changelog

    @functools.lru_cache(maxsize=1)  # they are asked for in order
    def brought_from(start: int) -> Any:
        revs = range(start, min(start + _REVSET_WINDOW, len(changelog)))
        return _read(repo, pushlog.brought, map(changelog.node, revs))

    def condition(rev: int) -> bool:
        node = changelog.node(rev)
        brought = brought_from(rev - rev % _REVSET_WINDOW).get(node)
        return brought is not None and matches(node, brought)

    return _bounded(repo, subset).filter(condition)


@_predicate(b'pushhead()')
def pushhead(repo: Any, subset: Any) -> Any:
    """Changesets that were the last of the push that brought them."""
    return _filtered(repo, subset, lambda node, brought: brought.head == node)


@_predicate(b'pushdate(interval)')
def pushdate(repo: Any, subset: Any, interval: Any) -> Any:
    """Changesets that were pushed within the interval, see :hg:`help dates`."""
    matches = dateutil.matchdate(revset.getstring(interval, _(b'pushdate requires a string')))
    return _filtered(repo, subset, lambda _node, brought: matches(brought.entry.date))


@_predicate(b'pushuser(string)')
def pushuser(repo: Any, subset: Any, string: Any) -> Any:
    """Changesets whose pushing user's name contains the string, ignoring case."""
    wanted = encoding.lower(revset.getstring(string, _(b'pushuser requires a string')))
    return _filtered(
        repo,
        subset,
        lambda _node, brought: wanted in encoding.lower(encoding.tolocal(brought.entry.user)),
    )


@_predicate(b'pushid(int)')
def pushid(repo: Any, subset: Any, number: Any) -> Any:
    """Changesets that a push brought."""
    push_id = revset.getinteger(number, _(b'pushid requires a number'))
    return subset & _of_pushes(repo, [push_id])


@_predicate(b'pushrev(set)')
def pushrev(repo: Any, subset: Any, revs: Any) -> Any:
    """Changesets that came in the same push as any changeset of the set."""
    revs = _bounded(repo, revset.getset(repo, revset.fullreposet(repo), revs))
    node = repo.unfiltered().changelog.node
    brought = _read(repo, pushlog.brought, map(node, revs))
    return subset & _of_pushes(repo, sorted({b.entry.push_id for b in brought.values()}))


def _of_pushes(repo: Any, push_ids: Sequence[int]) -> Any:
    changelog = repo.changelog
    found = _read(repo, pushlog.nodes_of, [i for i in push_ids if 0 < i < 2**62])
    nodes = [node for listed in found.values() for node, _extras in listed]
    return smartset.baseset([changelog.rev(n) for n in nodes if changelog.hasnode(n)])
