"""The parameters of a pushlog request: which pushes, and how much of each."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mercurial import encoding, error, scmutil
from mercurial.hgweb import common
from mercurial.node import bin

from ... import hgcompat
from ...backend import Backend
from ...catalog import epochs, names as catalog_names, pushlog, search, statements
from ...model import Entry, Selection
from ...wire import discovery
from .. import pages
from . import meanings, times

#: Number of pushes on a page.
PAGE = 10
#: Highest page of a branch or a user: all pushes before a page are read to find it.
_MAX_FAR_PAGE = 1000
#: Highest page of a search, which has to read more.
_MAX_SEARCH_PAGE = 100
#: Maximum number of words to search for.
_MAX_WORDS = 30
#: What ``hg log`` has before a user, a date or other facts.
_LABEL = re.compile(rb'^(?:user|date|branch|bookmark|tag|summary|phase): {2,}')
#: Parameters by their names in the form.
_FIELDS = {b'startdate': b"'pushed after'", b'enddate': b"'before'"}
#: What an error about a date says.
_DATES = b". '2026-11-30', '2026-11-30 12:00 +01:00', 'yesterday' and '2 hours ago' are dates"
#: Upper bounds, in the order of which the first applies.
UPPER = {b'enddate': None, b'tochange': None, b'endID': None}.keys()
#: Above all ids that a database can have.
MAX_ID = 2**62


@dataclasses.dataclass(frozen=True)
class Query:
    """A query of the pushlog.

    ``page`` counts from 1. It is None if all pushes that match are wanted. If they are too
    many, take the ``newest`` of them, or the oldest. ``words`` describe the query for people:
    pairs of kind and value. A search also finds the pushes of ``others``: see `meanings`.
    ``timed`` is the time in its text. ``problem`` says why a search of people finds nothing.
    """

    selection: Selection
    page: int | None
    words: tuple[tuple[bytes, bytes], ...]
    full: bool
    tips_only: bool
    version: int
    newest: bool
    others: tuple[Selection, ...] = ()
    timed: times.Said | None = None
    problem: bytes = b''

    @property
    def is_counted(self) -> bool:
        """Whether all pages but the last are full, so that their number is known."""
        return not (self.words or self.is_search)

    @property
    def is_one(self) -> bool:
        """Whether it names changesets and nothing else, and one push brought them."""
        only = all(kind == b'changeset' for kind, _value in self.words)
        return only and len(self.selection.push_ids or ()) == 1

    @property
    def is_of_users(self) -> bool:
        """Whether it names users and nothing else."""
        return all(kind == b'user' for kind, _value in self.words)

    @property
    def is_search(self) -> bool:
        """Whether the query is for words."""
        return bool(self.selection.words or self.selection.author or self.problem)


def parse(
    session: statements.Session,
    repo: Any,
    req: Any,
    last: int,
    newest: bool = False,
    for_people: bool = False,
) -> Query:
    """Return the query of a web request, to a pushlog that ends with push ``last``.

    ``newest`` is as in `Query`. If ``for_people``, the pushes of a user come in pages, an upper
    bound alone counts, empty fields of the form are ignored, and a search that cannot be is one
    that finds nothing.

    Raise hgweb's `ErrorResponse` (400, 404) and `error.RepoLookupError`.
    """
    params = req.qsparams
    version = params.get(b'version', b'1')
    if version not in (b'1', b'2'):
        raise _bad(b"version must be 1 or 2, not '%s'", version)
    bounded = functools.partial(_bounded, session, repo, last, _FIELDS if for_people else {})
    selection = Selection()
    words: list[tuple[bytes, bytes]] = []

    asked = pages.values(req, b'user')
    users = tuple(dict.fromkeys(filter(None, asked) if for_people else asked))
    if users:
        selection = selection._replace(users=users)
        words += [(b'user', user) for user in users]
    named = tuple(dict.fromkeys(pages.values(req, b'changeset')))
    if named:
        push_ids = Resolver(session, repo, named).push_ids(last)
        selection = selection._replace(push_ids=tuple(sorted(set(push_ids) - {0})))
        words += [(b'changeset', name) for name in named]
    branch = params.get(b'branch')
    problem = b''

    def attempt(narrowed: Callable[..., Selection], *args: Any) -> Selection:
        """Return a selection that is narrowed; to people, an error is a `Query.problem`."""
        nonlocal problem
        try:
            return narrowed(selection, *args)
        except common.ErrorResponse as exc:
            if not for_people:
                raise
            problem = exc.message
            return selection

    if branch is not None and (branch or not for_people):
        selection = attempt(functools.partial(_on_branch, session, repo), branch)
        words.append((b'branch', branch))
    for item in (b'search', b'author'):
        if text := searched(params, item):  # a form sends its empty fields too
            selection = attempt(_with_words, item, text)
            words.append((item, text))
    is_search = bool(problem or selection.words or selection.author)

    bounds: list[tuple[bytes, bytes]] = []
    paged = True
    for item in (b'startdate', b'fromchange', b'startID'):
        if _is_given(params, item):
            selection = attempt(bounded, item, params[item])
            bounds.append((item, params[item]))
            paged = False
            break
    if not paged or users or named or is_search or for_people:
        for item in UPPER:
            if _is_given(params, item):
                selection = attempt(bounded, item, params[item])
                bounds.append((item, params[item]))
                break
    if for_people and (selection.since or 0) >= (selection.before or MAX_ID):
        problem = b'%s is not earlier than %s' % tuple(_FIELDS.values())
    paged = is_search or (paged and not named and (for_people or not users))
    far = _MAX_FAR_PAGE if users or bounds or selection.branch is not None else None
    upto = last if selection.upto is None else min(last, selection.upto)
    selection = selection._replace(upto=upto)
    text = searched(params, b'search') if selection.words and not selection.author else b''
    timed = times.apart(hgcompat.to_str(text))
    return Query(
        selection=selection,
        page=_page(params, _MAX_SEARCH_PAGE if is_search else far) if paged else None,
        words=(*bounds, *words),
        full=b'full' in params,
        tips_only=params.get(b'tipsonly') == b'1',
        version=int(version),
        newest=newest,
        others=tuple(meanings.of_text(session, repo, selection, text, timed)),
        timed=timed,
        problem=problem,
    )


def searched(params: Any, item: bytes) -> bytes:
    """Return the text that a request asks to search for."""
    return _LABEL.sub(b'', b' '.join(params.getall(item)).strip())


def of_push(name: bytes, last: int) -> Query:
    """Return the query for one push, by its id; it finds none if ``name`` is not an id."""
    push_id = int(name) if re.fullmatch(rb'[0-9]{1,18}', name) else 0
    selection = Selection(push_ids=(push_id,), upto=last)
    return Query(selection, None, ((b'push', name),), False, False, 1, True)


def entries(backend: Backend, session: statements.Session, query: Query) -> list[Entry]:
    """Return the pushes of a query, oldest first. Raise `errors.Temporary`."""
    selection = query.selection
    if query.problem:
        return []
    if query.page is None:
        limit = backend.settings.pushlog_limit or None
        found = pushlog.entries(session, selection, newest=query.newest, limit=limit)
        return found[::-1] if query.newest else found
    before = PAGE * (query.page - 1)
    if query.is_search:
        needed = before + PAGE
        matching = search.matching(session, selection, limit=needed)
        for other in query.others:
            if other.words:
                matching += search.matching(session, other, limit=needed)
            else:
                matching += pushlog.entries(session, other, newest=True, limit=needed)
        newest = {entry.push_id: entry for entry in matching}
        return [newest[i] for i in sorted(newest, reverse=True)[before:needed]][::-1]
    epoch = epochs.current(session)
    has_gaps = pushlog.imported_push_id(session) or (epoch and epoch.first_push_id > 1)
    if before and query.is_counted and not has_gaps and selection.upto is not None:
        # Ids are consecutive, so that no offset is needed. An older pushlog may have had gaps, and
        # each epoch begins with one.
        selection = selection._replace(upto=selection.upto - before)
        before = 0
    return pushlog.entries(session, selection, newest=True, limit=PAGE, offset=before)[::-1]


def number_found(
    backend: Backend, session: statements.Session, repo: Any, query: Query, text: str
) -> int:
    """Return how many pushes, of one page, the same search finds for another text."""
    asked = hgcompat.to_bytes(text)
    selection = query.selection._replace(words=tuple(search.split(asked)))
    if not selection.words:
        return 0
    others = tuple(meanings.of_text(session, repo, selection, asked, times.apart(text)))
    other = dataclasses.replace(query, selection=selection, others=others, page=1)
    return len(entries(backend, session, other))


def _is_given(params: Any, item: bytes) -> bool:
    # A form sends its empty fields too.
    return bool(params.get(item)) or (item in params and not item.endswith(b'date'))


def _bounded(
    session: statements.Session,
    repo: Any,
    last: int,
    fields: Mapping[bytes, bytes],
    selection: Selection,
    item: bytes,
    value: bytes,
) -> Selection:
    if item in (b'startdate', b'enddate'):
        try:
            moment = times.seconds(hgcompat.to_str(value))
        except ValueError:
            name = fields.get(item, item)
            raise _bad(b"%s is not a date: '%s'" + _DATES, name, value) from None
        if item == b'startdate':
            return selection._replace(since=moment)
        return selection._replace(before=moment)
    if item in (b'fromchange', b'tochange'):
        (push_id,) = Resolver(session, repo, [value]).push_ids(last)
    elif re.fullmatch(rb'[+-]?[0-9]+', value.strip()):
        push_id = max(-1, min(MAX_ID, int(value.strip()[:30])))
    else:
        raise _bad(b"%s must be an integer, not '%s'", item, value)
    if item in (b'fromchange', b'startID'):
        return selection._replace(after=push_id)
    return selection._replace(upto=push_id)


def _page(params: Any, highest: int | None) -> int:
    # hgweb calls the path element after a command "node".
    page = params.get(b'node', b'')
    number = int(page[:15]) if re.fullmatch(rb'[0-9]+', page) else 1
    return max(1, number if highest is None else min(number, highest))


def _with_words(selection: Selection, item: bytes, text: bytes) -> Selection:
    found = tuple(search.split(text))
    if not found:
        raise _bad(b"%s needs a letter or a digit, and '%s' has none", item, text)
    if len(found) > _MAX_WORDS:
        raise _bad(b"%s takes %d words, and '%%s' has more" % (item, _MAX_WORDS), text)
    if item == b'author':
        return selection._replace(author=found)
    return selection._replace(words=found)


def _on_branch(
    session: statements.Session, repo: Any, selection: Selection, branch: bytes
) -> Selection:
    if not repo.branchmap().hasbranch(branch) and not pushlog.has_branch(session, branch):
        raise common.ErrorResponse(common.HTTP_NOT_FOUND, b"unknown branch '%s'" % _shown(branch))
    return selection._replace(branch=branch)


def _bad(text: bytes, *names: bytes) -> Exception:
    return common.ErrorResponse(common.HTTP_BAD_REQUEST, text % tuple(map(_shown, names)))


def _shown(name: bytes) -> bytes:
    """Return the beginning of a value as a page shows it: what is no text is escaped."""
    text = name.decode('utf-8', 'replace')[:200]
    if text.isprintable() and '\ufffd' not in text:
        return encoding.tolocal(text.encode('utf-8'))
    return hgcompat.escaped_bytes(name[:200])


class Resolver:
    """Resolves names of changesets, and finds the ids of the pushes that brought them."""

    def __init__(self, session: statements.Session, repo: Any, names: Sequence[bytes]) -> None:
        self._session = session
        self._repo = repo
        self._names = names

    @functools.cached_property
    def _stored(self) -> dict[bytes, tuple[bytes, ...]]:
        return catalog_names.all_named(self._session, self._names)

    def node(self, name: bytes) -> bytes:
        """Return the changeset that ``name`` stands for. Raise what `discovery.resolve` raises."""
        return discovery.resolve(
            lambda key: scmutil.revsymbol(self._repo, key).node(),
            self._repo,
            name,
            lambda key: self._stored[key],
        )

    def push_ids(self, last: int) -> list[int]:
        """Return a push id for each name; 0 if no push brought the changeset.

        Raise `error.RepoLookupError` if there is no such changeset, or if the push that brought
        it is above ``last`` and so not shown here yet.
        """
        nodes = {name: self._node_or_hash(name) for name in self._names}
        brought = pushlog.brought(self._session, nodes.values())
        has_node = self._repo.changelog.hasnode
        unknown = [n for n in nodes.values() if n not in brought and not has_node(n)]
        tombstoned = pushlog.tombstoned(self._session, unknown) if unknown else {}
        found = []
        for name, node in nodes.items():
            push_id = brought[node].entry.push_id if node in brought else tombstoned.get(node, 0)
            if not 0 < push_id <= last and not has_node(node):
                raise discovery.unknown(name)
            found.append(push_id)
        return found

    def _node_or_hash(self, name: bytes) -> bytes:
        if re.fullmatch(rb'[0-9a-fA-F]{40}', name) and bin(name) != self._repo.nodeconstants.wdirid:
            return bin(name)  # `push_ids` raises if it does not exist
        try:
            return self.node(name)
        except error.RepoLookupError:
            tombstone = catalog_names.gone(self._session, name)
            if tombstone is None:
                raise
            return tombstone.node
