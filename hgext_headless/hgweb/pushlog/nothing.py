"""What the page of the pushlog says where it finds no push: what is missing, what is similar."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mercurial import error, scmutil, templateutil

from ... import hgcompat
from ...catalog import pushlog, search, statements
from ...model import Selection
from . import keywords, meanings, query as queries
from .json_format import text

#: Maximum number of names like one that is not found, and of words that are looked for one by one.
_MOST_SIMILAR, _MOST_WORDS = 10, 3
#: A hash rather than a word, or the number of a bug.
_HASH = re.compile('(?![0-9]{1,8}$)(?:.{7,}|.*[0-9].*)')
#: Words for bounds, which are in the form.
_BOUNDS = {b'before', b'until', b'till', b'after', b'to'}


def found(web: Any, query: queries.Query, last: int) -> dict[bytes, Any]:
    """Return the keywords of the template ``pushlognone``."""
    params = web.req.qsparams
    asked = queries.searched(params, b'search')
    users = query.selection.users if query.is_of_users else None
    with web.repo.headless.read_catalog.reading() as session:
        meant = _meant(web, session, query, asked, last) if query.selection.words else {}
        return {
            b'lookedfor': asked,
            b'isshort': not meanings.can_be_name(hgcompat.to_str(asked)),
            b'isbound': bool(query.timed and _BOUNDS.intersection(asked.lower().split())),
            b'author': queries.searched(params, b'author'),
            b'nousers': _mappings({b'name': name} for name in users or ()),
            b'similar': _mappings(_similar(session, query, params.get(b'branch', b''))),
            **meant,
        }


def _similar(
    session: statements.Session, query: queries.Query, branch: bytes
) -> Iterator[dict[bytes, Any]]:
    """Yield names like those of the users and the branch that were asked for."""
    for kind, asked, names in (
        (b'user', query.selection.users or (), search.users),
        (b'branch', (branch,) if query.problem and branch else (), search.branches),
    ):
        similar = {name for one in asked for name in names(session, text(one), _MOST_SIMILAR)}
        for name in sorted(similar.difference(asked)):
            yield {b'kind': kind, b'name': keywords.local(text(name))}


def _meant(
    web: Any, session: statements.Session, query: queries.Query, asked: bytes, last: int
) -> dict[bytes, Any]:
    """Return the keywords about a push, and about a search alone: hashes, a time, several words."""
    push_id = meanings.push_in(asked)
    if push_id is not None:
        one = Selection(push_ids=(push_id,), upto=last)
        if not pushlog.entries(session, one, newest=True, limit=1):
            is_number = b'push' not in asked.lower()
            return {b'nopush': b'%d' % push_id, b'last': last, b'isnumber': is_number}
    if len(query.words) > 1:
        return {}
    hashes = meanings.hashes_in(asked)
    if any(_HASH.fullmatch(one) for one in hashes):
        names = ', '.join(hashes).encode('ascii')
        return {b'nohashes': names, b'publicnode': _public(web.repo, names)}
    timed = query.timed
    if timed and not timed.rest:
        return {b'when': str(timed).encode('ascii')}
    parts = meanings.main_words(timed.rest if timed else hgcompat.to_str(asked))
    if timed:
        parts = [timed.text, *parts]
    if not 1 < len(parts) <= _MOST_WORDS:
        return {}
    backend = web.repo.headless
    counts = {p: queries.number_found(backend, session, web.repo, query, p) for p in parts}
    return {
        b'alone': any(counts.values())
        and _mappings(
            {
                b'name': keywords.local(part),
                b'count': count or b'',
                b'ismore': count == queries.PAGE,
            }
            for part, count in counts.items()
        )
    }


def _public(repo: Any, name: bytes) -> bytes:
    """Return the hash of a changeset of public history; nothing if it has none of this name."""
    with contextlib.suppress(error.RepoLookupError, error.LookupError):
        found: bytes = scmutil.revsymbol(repo, name).hex()
        return found
    return b''


def _mappings(items: Iterable[dict[bytes, Any]]) -> Any:
    return templateutil.mappinglist(list(items))
