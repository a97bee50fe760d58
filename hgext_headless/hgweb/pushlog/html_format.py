"""The pushlog as pages and as an Atom feed, by Mercurial's template engine."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial import encoding, templateutil
from mercurial.hgweb import common
from mercurial.node import hex, nullid

from ...backend import Backend
from ...model import Changeset, Entry
from .json_format import BATCH
from .query import PAGE, Query

_TEMPLATES = os.path.join(os.path.dirname(__file__), 'templates')
#: The shipped styles that have a frame of their own; others of HTML take paper's.
_FRAMES = ('paper', 'gitweb', 'monoblue', 'spartan', 'atom')
#: Numbers of pages that are shown around the current one.
_AROUND = 4

_WORDS = {
    b'startdate': b"pushed after '%s'",
    b'enddate': b"pushed before '%s'",
    b'fromchange': b'pushed after changeset %s',
    b'tochange': b'pushed up to changeset %s',
    b'startID': b'after push %s',
    b'endID': b'up to push %s',
    b'user': b'by user %s',
    b'changeset': b'that came with changeset %s',
    b'branch': b'on branch %s',
    b'search': b"with the words '%s'",
    b'author': b"by author '%s'",
}
#: What XML has no way to write.
_CONTROL = re.compile(rb'[\x00-\x08\x0b\x0c\x0e-\x1f]')


def load_templates(web: Any) -> None:
    """Add the pushlog's templates to those of the request's style.

    Raises hgweb's `ErrorResponse` where the style is neither HTML nor Atom. A
    site's own ``pushlog`` template stays.
    """
    style = web.tmpl.defaults[b'style'].decode('latin-1')
    if style not in _FRAMES:
        if b'text/html' not in web.tmpl.render(b'mimetype', {b'encoding': encoding.encoding}):
            raise common.ErrorResponse(common.HTTP_NOT_FOUND, b'no pushlog in this style')
        style = 'paper'
    for folder in ('shared', style):
        for name in sorted(os.listdir(os.path.join(_TEMPLATES, folder))):
            template = name.rpartition('.')[0].encode('ascii')
            if template not in web.tmpl:
                with open(os.path.join(_TEMPLATES, folder, name), 'rb') as file:
                    web.tmpl.cache[template] = file.read()


def page(
    backend: Backend, web: Any, query: Query, entries: Sequence[Entry], last: int
) -> dict[str, Any]:
    """What the template ``pushlog`` of the HTML styles is told; the newest push first."""
    pushes = _prefetched(_pushes(backend, web, entries))
    params = web.req.qsparams
    words = [_WORDS[kind] % value for kind, value in query.words]
    return {
        'pushes': templateutil.mappinggenerator(lambda context: pushes),
        'nothing': not entries,
        'search': params.get(b'search', b''),
        'searched': query.is_search,
        'query': b'Changes ' + b', '.join(words) if words else b'',
        'startdate': params.get(b'startdate', b''),
        'enddate': params.get(b'enddate', b''),
        'pages': templateutil.mappinglist(list(_pages(query, len(entries), last))),
        'pagevars': _page_vars(params),
        'symrev': b'tip',
        'archives': b'',
    }


def _page_vars(params: Any) -> Any:
    """What the links to other pages ask for: the same as this one."""
    pairs = [(name, value) for name in (b'style', *_WORDS) for value in params.getall(name)]
    return templateutil.mappinglist(
        [
            {b'name': name, b'value': value, b'separator': b'&' if number else b'?'}
            for number, (name, value) in enumerate(pairs)
        ]
    )


def feed(
    backend: Backend, web: Any, query: Query, entries: Sequence[Entry], last: int
) -> dict[str, Any]:
    """What the template ``pushlog`` of the Atom style is told."""
    changesets = _prefetched(_feed_entries(backend, query, entries))
    newest = entries[0].date if entries else int(time.time())
    return {
        'entries': templateutil.mappinggenerator(lambda context: changesets),
        'updated': templateutil.date((newest, 0)),
    }


def _prefetched(items: Iterator[dict[bytes, Any]]) -> Iterator[dict[bytes, Any]]:
    """What can fail fails now, before the answer has begun."""
    return itertools.chain(list(itertools.islice(items, 1)), items)


def _listed(
    backend: Backend, query_tips: bool, entries: Sequence[Entry]
) -> Iterator[tuple[Entry, list[Changeset]]]:
    """Pushes with their changesets, the tip-most first."""
    for start in range(0, len(entries), BATCH):
        batch = entries[start : start + BATCH]
        with backend.reader.reading() as session:
            found = session.changesets_of([e.push_id for e in batch], query_tips)
        for entry in batch:
            yield entry, found[entry.push_id][::-1]


def _pushes(backend: Backend, web: Any, entries: Sequence[Entry]) -> Iterator[dict[bytes, Any]]:
    for number, (entry, listed) in enumerate(_listed(backend, False, entries)):
        rows = [_row(web, entry, c, first=not i) for i, c in enumerate(listed)]
        is_merge = bool(listed) and listed[0].p2 != nullid
        visible = rows[:1] if is_merge else rows
        yield {
            **_push(entry),
            b'parity': number % 2,
            b'changesets': templateutil.mappinglist(visible),
            b'merged': templateutil.mappinglist(rows[len(visible) :]),
            b'mergedcount': len(rows) - len(visible),
            b'folded': len(visible) < len(rows),
            b'gone': not rows,
        }


def _push(entry: Entry) -> dict[bytes, Any]:
    return {
        b'pushid': entry.push_id,
        b'before': entry.push_id - 1,
        b'pushuser': encoding.tolocal(entry.user),
        b'pushdate': templateutil.date((entry.date, 0)),
    }


def _row(web: Any, entry: Entry, changeset: Changeset, first: bool) -> dict[bytes, Any]:
    tags = web.repo.nodetags(changeset.node)
    branch = encoding.tolocal(changeset.branch)
    return {
        **_push(entry),
        b'first': first,
        b'node': hex(changeset.node),
        b'gone': changeset.is_tombstone,
        b'author': encoding.tolocal(changeset.author),
        b'desc': encoding.tolocal(changeset.description),
        b'branchname': b'' if branch == b'default' else branch,
        b'tagnames': templateutil.hybridlist(tags, name=b'tagname'),
    }


def _pages(query: Query, found: int, last: int) -> Iterator[dict[bytes, Any]]:
    """The links to other pages: First, Prev, numbers, Next, Last."""
    if query.page is None:
        return
    current = query.page
    counted = query.is_counted
    # Those of a branch or a search are not counted: it would cost more with each push.
    final = -(-last // PAGE) if counted else current + (found == PAGE)

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
        if counted:
            yield link(final, b'Last')


def _feed_entries(
    backend: Backend, query: Query, entries: Sequence[Entry]
) -> Iterator[dict[bytes, Any]]:
    for entry, listed in _listed(backend, query.tips_only, entries):
        for changeset in listed:
            files = [_CONTROL.sub(b'?', encoding.tolocal(name)) for name in changeset.files]
            yield {
                **_push(entry),
                b'pushuser': _CONTROL.sub(b'?', encoding.tolocal(entry.user)),
                b'node': hex(changeset.node),
                b'gone': changeset.is_tombstone,
                b'files': templateutil.hybridlist(files, name=b'file'),
            }
