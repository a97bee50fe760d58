"""The parameters of a pushlog request: which pushes, and how much of each."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mercurial import encoding, error, scmutil
from mercurial.hgweb import common
from mercurial.node import bin

from ... import hgcompat
from ...backend import Backend
from ...catalog import bookmarks, epochs, names as catalog_names, pushlog, search, statements
from ...model import Entry, Selection
from ...wire import discovery
from .. import pages
from . import times

#: Number of pushes on a page.
PAGE = 10
#: Highest page of a branch or a user: all pushes before a page are read to find it.
_MAX_FAR_PAGE = 1000
#: Highest page of a search, which has to read more.
_MAX_SEARCH_PAGE = 100
#: Maximum number of words to search for.
_MAX_WORDS = 30
#: Minimum length of a part of a name, and maximum number of users, of hashes, and of pushes with
#: each, that a search finds beside words.
_MIN_NAME, _MAX_MEANT = 3, 20
#: Maximum number of words one of which may be the name of a user.
_MOST_NAMED = 3
#: Maximum number of pushes that a search finds by a part of the name of an author or a branch, and
#: number of the newest bookmarks of drafts whose names it looks at.
_MAX_BY_NAME, _BOOKMARKS = 500, 5000
#: A bug, as people and addresses name it. Without limits, an address could take seconds.
_BUG = re.compile(rb'(?:\S{0,200}[?&]id=|bug|b=) ?#?([0-9]{1,8})(?:[#&]\S{0,200})?', re.I)
#: A hash that is unmistakable, and the id of a push, in what was copied.
_HASH = re.compile(r'(?<![0-9a-z])[0-9a-f]{12,40}(?![0-9a-z])')
_PUSH = re.compile(rb'\bpush[ /]?#?([0-9]{1,15})\b', re.I)
#: What ``hg log`` has before a user, a date or other facts.
_LABEL = re.compile(rb'^(?:user|date|branch|bookmark|tag|summary|phase): {2,}')
#: What people call a hash, in front of it.
_CALLED = {'rev', 'revision', 'changeset', 'commit', 'node', '-r'}
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
    pairs of kind and value. A search also finds the pushes of ``others``: see `_meanings`.
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
        others=tuple(_meanings(session, repo, selection, text, timed)),
        timed=timed,
        problem=problem,
    )


def searched(params: Any, item: bytes) -> bytes:
    """Return the text that a request asks to search for."""
    return _LABEL.sub(b'', b' '.join(params.getall(item)).strip())


def _meanings(
    session: statements.Session,
    repo: Any,
    selection: Selection,
    text: bytes,
    timed: times.Said | None = None,
) -> Iterator[Selection]:
    """Yield the selections of pushes that a text to search for can mean beside its words.

    It may be a part of the name of a user, an author, a bookmark, a tag or a branch, hashes or the
    beginning of some, a push id, or a time, alone or beside one of the others.
    """
    if not text:
        return
    if timed:
        # A page shows the second of a push.
        since = max(timed.since - 1, selection.since or 0)
        ends = [end for end in (timed.before, selection.before) if end is not None]
        rest = hgcompat.to_bytes(timed.rest)
        then = selection._replace(
            since=since, before=min(ends, default=None), words=tuple(search.split(rest))
        )
        yield then
        yield from _meanings(session, repo, then, rest)
    name = times.BEFORE_NAMES.sub('', hgcompat.to_str(text))
    words = main_words(name)
    for word in words if 1 < len(words) <= _MOST_NAMED else ():  # who pushed, and what
        names = _users(session, selection, word)
        others = ' '.join(one for one in words if one is not word)
        what = search.split(hgcompat.to_bytes(others))
        if names and what:
            yield selection._replace(users=names, words=tuple(what))
    named = selection._replace(words=())
    if len(name) >= _MIN_NAME:
        names = _users(session, selection, name)
        if names:
            yield named._replace(users=names)
        brought = search.pushes_by_name(session, name, _MAX_BY_NAME)
        yield from _among(named, brought)
        yield from _with(session, named, _marked(session, repo, name))
    hashes = hashes_in(text)
    if hashes:
        found = {i for one in hashes for i in search.pushes_with_prefix(session, one, _MAX_MEANT)}
        yield from _among(named, found)
    push_id = push_in(text)
    if push_id is not None:
        yield from _among(named, [push_id])
    bug = _BUG.fullmatch(text)
    if bug:
        yield selection._replace(words=tuple(search.split(bug.group(1))))
    # The branch default is nearly all; the beginnings of hashes are found above.
    if text != b'default' and not re.fullmatch(rb'[0-9a-f]+', text):
        nodes = set(catalog_names.named(session, text))
        with contextlib.suppress(KeyError):
            nodes.add(repo.names.singlenode(repo, text))
        yield from _with(session, named, nodes)
        if pushlog.has_branch(session, text):
            yield named._replace(branch=text)


def main_words(text: str) -> list[str]:
    """Return the words of a text, but those that people say before names."""
    return [word for word in text.split() if not times.BEFORE_NAMES.match(f'{word} .')]


def hashes_in(text: bytes) -> list[str]:
    """Return the hashes, or beginnings of some, that a text consists of or has."""
    lower = text.decode('latin-1').lower()
    words = _copied(lower)
    if not all(re.fullmatch('[0-9a-f]{4,40}', word) for word in words):
        # As "hg id" prints it, and a command, a sentence or an address has it.
        words = _HASH.findall(lower)
    return words[:_MAX_MEANT]


def push_in(text: bytes) -> int | None:
    """Return the id of a push that a text is or has."""
    found = _PUSH.search(text) or re.fullmatch(rb'#?([0-9]{1,15})', text)
    return int(found.group(1)) if found else None


def _users(session: statements.Session, selection: Selection, part: str) -> tuple[bytes, ...]:
    """Return the users of a selection of whose name ``part`` is a part; none if it is short."""
    if len(part) < _MIN_NAME:
        return ()
    names = search.users(session, part, _MAX_MEANT)
    return tuple(n for n in names if selection.users is None or n in selection.users)


def _marked(session: statements.Session, repo: Any, part: str) -> list[bytes]:
    """Return changesets with a bookmark or a tag of whose name ``part`` is a part.

    Those of public history are in memory for each page.
    """
    public = itertools.chain(repo.tags().items(), repo._bookmarks.items())
    drafts = bookmarks.newest(session, _BOOKMARKS).items()
    is_part = search.part_of(part)
    named = itertools.chain(((encoding.fromlocal(name), node) for name, node in public), drafts)
    return [node for name, node in named if is_part(name)][:_MAX_MEANT]


def _copied(text: str) -> list[str]:
    """Return the words of a text without what hg, people and addresses have around hashes."""
    words = (re.split('[/=:(]', word)[-1].strip('.,;()[]<>"\'+') for word in text.split())
    return [word for word in words if word and word not in _CALLED]


def _among(selection: Selection, push_ids: Iterable[int]) -> Iterator[Selection]:
    """Yield what ``selection`` has of ``push_ids``, if that is anything."""
    asked = selection.push_ids
    found = sorted(i for i in push_ids if asked is None or i in asked)
    if found:
        yield selection._replace(push_ids=tuple(found))


def _with(
    session: statements.Session, selection: Selection, nodes: Iterable[bytes]
) -> Iterator[Selection]:
    """Yield what ``selection`` has of the pushes that brought ``nodes``, if that is anything."""
    brought = pushlog.brought(session, nodes, with_ends=False)
    yield from _among(selection, (found.entry.push_id for found in brought.values()))


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
    others = tuple(_meanings(session, repo, selection, asked, times.apart(text)))
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
