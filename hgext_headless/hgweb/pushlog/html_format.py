"""The pushlog as HTML pages and as an Atom feed, with Mercurial's template engine."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mercurial import encoding, templateutil, util
from mercurial.hgweb import webutil
from mercurial.node import hex, nullid

from ... import hgcompat
from ...catalog import pushlog, statements
from ...model import Changeset, Entry, Selection
from . import keywords, links as configured, nothing, push_page, push_rows, times
from .json_format import BATCH, text
from .query import PAGE, Query

#: Number of page links before the current page, and after it.
_AROUND = 4
#: Maximum number of review links of a push.
_MOST_BUTTONS = 50

_WORDS = {
    b'startdate': b"pushed after '%s'",
    b'enddate': b"pushed before '%s'",
    b'fromchange': b'pushed after changeset %s',
    b'tochange': b'pushed up to changeset %s',
    b'startID': b'after push %s',
    b'endID': b'up to push %s',
    b'user': b'by user %s',
    b'changeset': b'that came with changeset %s',
    b'push': b'of push %s',
    b'branch': b'on branch %s',
    b'search': b"that match '%s'",
    b'author': b"by author '%s'",
}
#: Parameters that have a field of their own in the form.
_NARROWING = (b'user', b'branch', b'startdate', b'enddate')


def page(web: Any, query: Query, entries: Sequence[Entry], last: int) -> dict[bytes, Any]:
    """Return the keywords of the template ``pushlog`` of HTML styles; the newest push is first."""
    listed = functools.partial(_listed, web, False, entries)
    # Pages of a branch, a user or a search are not counted: the cost would grow with each push.
    count = None
    if query.page is not None and query.is_counted:
        count = web.repo.headless.read_catalog.read(pushlog.count, last)
    pages = list(_pages(query, len(entries), count))
    page_vars = _page_vars(web, query.words)
    said = dict(_WORDS)
    timed, selection = query.timed, query.selection
    if timed:
        when = str(timed) + (f" with '{timed.rest}'" if timed.rest else '')
        shown = keywords.local(when).replace(b'%', b'%%')
        since_then = [(b'search', hgcompat.to_bytes(timed.since_then))]
        since_then += [word for word in query.words if word[0] != b'search']
        said[b'search'] = b'pushed %s, or %s' % (shown, _WORDS[b'search'])
    for item, moment in ((b'startdate', selection.since), (b'enddate', selection.before)):
        if moment is not None:
            said[item] += b' (%s)' % times.shown(moment).encode('ascii')
    words = [said[kind] % value for kind, value in query.words]
    described = b'Changes ' + b', '.join(words) if words else b''
    limit = web.repo.headless.settings.pushlog_limit
    is_beyond = not entries and (query.page or 1) > 1
    params = web.req.qsparams
    return {
        **_mozillas(web, listed, pages, page_vars),
        b'pushes': templateutil.mappinggenerator(
            lambda context: _pushes(web, query, entries, last)
        ),
        b'nothing': not entries,
        b'search': params.get(b'search', b''),
        b'searched': query.is_search,
        b'problem': query.problem,
        b'isbeyond': is_beyond,
        **(nothing.found(web, query, last) if not entries and not is_beyond else {}),
        b'truncated': limit if query.page is None and len(entries) == limit > 0 else b'',
        b'query': described,
        b'querydescription': described,
        b'sincethen': _page_vars(web, since_then) if timed and timed.before else b'',
        b'users': _named(query.selection.users or (b'',)),
        b'branch': params.get(b'branch', b''),
        b'since': params.get(b'startdate', b''),
        b'until': params.get(b'enddate', b''),
        b'narrowed': any(params.get(item) for item in _NARROWING),
        b'pages': templateutil.mappinglist(pages if len(pages) > 1 else []),
        b'pagevars': page_vars,
        b'symrev': b'tip',
        b'onepush': b'',
    }


def _mozillas(
    web: Any,
    listed: Callable[[], push_rows.Listed],
    pages: Iterable[dict[bytes, Any]],
    page_vars: Any,
) -> dict[bytes, Any]:
    """Return the keywords of styles that were made for Mozilla's pushlog (``gitweb_mozilla``)."""

    def entries(context: Any) -> Iterator[dict[bytes, Any]]:
        return _entries(web.repo, listed())

    return {
        b'entries': templateutil.mappinggenerator(entries),
        b'latestentry': templateutil.mappinggenerator(
            lambda context: itertools.islice(entries(context), 1)
        ),
        # So that links to other pages keep the requested user or branch.
        b'changenav': templateutil.mappinglist(
            [{**page, b'sessionvars': page_vars} for page in pages]
        ),
        b'startdate': web.req.qsparams.get(b'startdate', b'1 week ago'),
        b'enddate': web.req.qsparams.get(b'enddate', b'now'),
        b'archives': web.archivelist(b'tip'),
        b'rev': 0,
    }


def _entries(repo: Any, listed: push_rows.Listed) -> Iterator[dict[bytes, Any]]:
    for parity, (entry, changesets) in enumerate(listed):
        shown = [changeset for changeset in changesets if not changeset.is_tombstone]
        is_merge = bool(shown) and shown[0].p2 != nullid
        push = {
            b'user': encoding.tolocal(entry.user),
            b'date': templateutil.date((entry.date, 0)),
        }
        rolled_up = {b'count': len(shown)}
        for place, changeset in enumerate(shown):
            yield {
                **_changeset(repo, changeset),
                b'id': entry.push_id,
                b'parity': parity % 2,
                b'hidden': b'hidden' if is_merge else b'',
                b'push': templateutil.mappinglist([] if place else [push]),
                b'mergerollup': templateutil.mappinglist(
                    [rolled_up] if is_merge and not place else []
                ),
            }


def _changeset(repo: Any, changeset: Changeset) -> dict[bytes, Any]:
    node, branch = changeset.node, encoding.tolocal(changeset.branch)
    is_here = repo.changelog.hasnode(node)
    is_tip = is_here and repo.branchmap().branchtip(branch) == node
    files = list(map(encoding.tolocal, changeset.files))
    return {
        b'author': encoding.tolocal(changeset.author),
        b'desc': encoding.tolocal(changeset.description),
        b'files': webutil.listfilediffs(files, hex(node), len(files)),
        b'rev': repo.changelog.rev(node) if is_here else None,
        b'node': hex(node),
        b'parents': [hex(p) for p in (changeset.p1, changeset.p2) if p != nullid],
        b'tags': webutil.nodetagsdict(repo, node),
        b'branches': templateutil.hybridlist([branch] if is_tip else [], name=b'name'),
        b'inbranch': templateutil.hybridlist(
            [] if is_tip or branch == b'default' else [branch], name=b'name'
        ),
    }


def feed(web: Any, query: Query, entries: Sequence[Entry], last: int) -> dict[bytes, Any]:
    """Return the keywords of the template ``pushlog`` of the Atom style."""
    newest = entries[0].date if entries else 0  # not the time: readers would see a change
    words = [b'%s=%s' % (kind, util.urlreq.quote(value)) for kind, value in query.words]
    asked = b'&'.join(words + [b'tipsonly=1'] * query.tips_only)
    return {
        b'entries': templateutil.mappinggenerator(
            lambda context: _feed_entries(web, query, entries)
        ),
        b'date': _iso(newest),
        b'query': b'?' + asked if asked else b'',
    }


def _listed(
    web: Any, query_tips: bool, entries: Sequence[Entry]
) -> Iterator[tuple[Entry, list[Changeset]]]:
    """Yield pushes with their changesets, tipmost first; of a large push, only the last ones."""
    for start in range(0, len(entries), BATCH):
        batch = entries[start : start + BATCH]
        with web.repo.headless.read_catalog.reading() as session:
            found, _sizes = _batch(session, query_tips, batch)
        yield from found


def _batch(
    session: statements.Session, query_tips: bool, batch: Sequence[Entry]
) -> tuple[list[tuple[Entry, list[Changeset]]], dict[int, int]]:
    """Return what `_listed` yields, and the number of changesets of each push."""
    sizes = pushlog.sizes(session, [entry.push_id for entry in batch])
    small = [i for i, size in sizes.items() if size <= push_rows.MOST or query_tips]
    found = pushlog.changesets_of(session, small, query_tips, pushlog.SHOWN)
    for push_id in sizes.keys() - found.keys():
        start = sizes[push_id] - push_rows.MOST
        found[push_id] = pushlog.changesets_from(
            session, push_id, start, push_rows.MOST, pushlog.SHOWN
        )
    return [(entry, found[entry.push_id][::-1]) for entry in batch], sizes


def _pushes(
    web: Any, query: Query, entries: Sequence[Entry], last: int
) -> Iterator[dict[bytes, Any]]:
    selections = (query.selection, *query.others)
    sought = {frozenset((*one.words, *one.author)) for one in selections} - {frozenset()}
    links = configured.configured(web.repo.ui)
    number = itertools.count()
    for start in range(0, len(entries), BATCH):
        with web.repo.headless.read_catalog.reading() as session:
            batch, sizes = _batch(session, False, entries[start : start + BATCH])
            facts = push_rows.facts_of(session, web, batch, last, push_rows.summary_of)
        for entry, changesets in batch:
            rows = [push_rows.row(web, links, entry, c, facts, sought) for c in changesets]
            omitted = max(0, sizes[entry.push_id] - push_rows.MOST)
            yield {
                **push_rows.of_push(links, entry, changesets, rows, omitted),
                b'parity': next(number) % 2,
            }


def push(web: Any, query: Query, entry: Entry, last: int) -> dict[bytes, Any]:
    """Return the keywords of the template ``pushlog`` of HTML styles for the page of one push."""
    links = configured.configured(web.repo.ui)
    with web.repo.headless.read_catalog.reading() as session:
        changesets, size = push_page.found(session, entry.push_id)
        listed = changesets[::-1]
        whole = [(entry, listed)], last, lambda c: text(c.description)
        facts = push_rows.facts_of(session, web, *whole, in_a_list=False)
        before, after = Selection(upto=entry.push_id - 1), Selection(entry.push_id, last)
        neighbours = {
            b'previous': pushlog.entries(session, before, newest=True, limit=1),
            b'next': pushlog.entries(session, after, newest=False, limit=1),
        }
    # Before a draft is laid over the repository, which changes what is visible in it.
    rows = [
        {**push_rows.row(web, links, entry, c, facts), **message}
        for c, message in push_rows.messages(links, listed, facts.named)
    ]
    live = [c for c in listed if not c.is_tombstone]
    branches = dict.fromkeys(encoding.tolocal(c.branch) for c in live)
    reviews = dict.fromkeys(link for c in live for link in links.matches(text(c.description)))
    return {
        **page(web, query, [entry], last),
        **push_rows.of_push(links, entry, listed, rows, size - len(listed), in_a_list=False),
        b'onepush': entry.push_id,
        b'headline': keywords.local(push_rows.summary_of(live[0])[: push_rows.WIDE])
        if live
        else b'',
        b'neighbours': templateutil.mappinglist(
            [
                {b'way': way, b'pushid': other.push_id}
                for way, found in neighbours.items()
                for other in found
            ]
        ),
        b'aroundbegin': max(0, entry.push_id - PAGE // 2 - 1),
        b'aroundend': entry.push_id + PAGE // 2,
        b'changesetcount': size,
        b'states': templateutil.hybridlist(
            list(dict.fromkeys(row[b'state'] for row in rows)), name=b'state'
        ),
        b'branchnames': templateutil.hybridlist(list(branches), name=b'branchname'),
        b'marked': templateutil.hybridlist(
            [name for c in listed for name in facts.bookmarks(web.repo, c.node)],
            name=b'bookmarkname',
        ),
        b'reviews': keywords.mappings(itertools.islice(reviews, _MOST_BUTTONS)),
        **push_page.keywords(web, entry, changesets, size),
    }


def _named(names: Iterable[bytes]) -> Any:
    return templateutil.mappinglist([{b'name': name} for name in names])


def _page_vars(web: Any, words: Iterable[tuple[bytes, bytes]]) -> Any:
    """Return the parameters that links to other pages keep."""
    params = web.req.qsparams
    kept = [(b'style', params[b'style'])] if b'style' in params else []
    kept += words
    separators = itertools.chain([b'?'], itertools.repeat(b'&'))
    return templateutil.mappinglist(
        [
            {b'name': name, b'value': value, b'separator': separator}
            for (name, value), separator in zip(kept, separators)
        ]
    )


def _pages(query: Query, found: int, count: int | None) -> Iterator[dict[bytes, Any]]:
    """Yield the links to other pages: First, Prev, numbers, Next, Last.

    ``found`` pushes are on this page, ``count`` on all; None: that is not known. A query without
    pages has one.
    """
    current = query.page or 1
    if query.page is None:
        final = 1
    else:
        final = (current + (found == PAGE) if found else 1) if count is None else -(-count // PAGE)

    def link(number: int, label: bytes) -> dict[bytes, Any]:
        return {b'page': number, b'label': label, b'current': number == current}

    if current > 1:
        yield link(1, b'First')
        yield link(min(current, final + 1) - 1 or 1, b'Prev')
    low, high = max(1, current - _AROUND), min(final, current + _AROUND)
    for number in range(low, high + 1):
        yield link(number, b'%d' % number)
    if current < final:
        yield link(current + 1, b'Next')
        if count is not None:
            yield link(final, b'Last')


def _feed_entries(web: Any, query: Query, entries: Sequence[Entry]) -> Iterator[dict[bytes, Any]]:
    for entry, listed in _listed(web, query.tips_only, entries):
        user = keywords.local(text(entry.user))
        for changeset in listed:
            summary = (changeset.description.strip().splitlines() or [b''])[0]
            if changeset.is_tombstone:
                summary = b'changeset %s is gone' % hex(changeset.node)[:12]
            yield {
                b'title': b'%s: %s' % (user, keywords.local(text(summary))),
                b'user': user,
                b'date': _iso(entry.date),
                b'node': hex(changeset.node),
                b'gone': changeset.is_tombstone,
                b'files': _named(keywords.local(text(name)) for name in changeset.files),
            }


def _iso(date: int) -> bytes:
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(date)).encode('ascii')
