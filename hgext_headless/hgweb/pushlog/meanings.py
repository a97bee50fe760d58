"""What the text of a search can mean beside its words: names, hashes, a push, a bug, a time."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mercurial import encoding

from ... import hgcompat
from ...catalog import bookmarks, names as catalog_names, pushlog, search, statements
from ...model import Selection
from . import times

#: Minimum length of a part of a name, unless it is Chinese or Japanese, and maximum number of
#: users, of hashes, and of pushes with each, that a search finds beside words.
_MIN_NAME, _MAX_MEANT = 3, 20
#: Maximum number of words one of which may be the name of a user.
_MOST_NAMED = 3
#: Maximum number of pushes that a search finds by a part of the name of an author or a branch, and
#: number of the newest bookmarks of drafts whose names it looks at.
_MAX_BY_NAME, _BOOKMARKS = 500, 5000
#: A bug, as people and addresses name it. Without limits, an address could take seconds.
_BUG = re.compile(rb'(?:\S{0,200}[?&]id=|bug|b=) ?#?([0-9]{1,8})(?:[#&]\S{0,200})?', re.I)
#: A hash that is no word, and the id of a push, in what was copied.
_HASH = re.compile(
    '(?<![0-9a-z])(?:[0-9a-f]{12,40}|(?=[a-f]{0,10}[0-9])[0-9a-f]{7,11})(?![0-9a-z])'
)
_PUSH = re.compile(rb'\bpush[ /]?#?([0-9]{1,15})\b', re.I)
#: What people call a hash, in front of it.
_CALLED = {'rev', 'revision', 'changeset', 'commit', 'node', '-r'}


def of_text(
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
        yield from of_text(session, repo, then, rest)
    name = times.BEFORE_NAMES.sub('', hgcompat.to_str(text))
    words = main_words(name)
    for word in words if 1 < len(words) <= _MOST_NAMED else ():  # who pushed, and what
        names = _users(session, selection, word)
        others = ' '.join(one for one in words if one is not word)
        what = search.split(hgcompat.to_bytes(others))
        if names and what:
            yield selection._replace(users=names, words=tuple(what))
            theirs = selection._replace(users=names, words=())
            yield from _by_name(session, repo, theirs, others)
    named = selection._replace(words=())
    names = _users(session, selection, name)
    if names:
        yield named._replace(users=names)
    yield from _by_name(session, repo, named, name)
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


def can_be_name(text: str) -> bool:
    """Return whether a text is long enough for a part of a name."""
    part = times.BEFORE_NAMES.sub('', text)
    return len(part) >= _MIN_NAME or search.UNSPACED.search(part) is not None


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
    if not can_be_name(part):
        return ()
    names = search.users(session, part, _MAX_MEANT)
    return tuple(n for n in names if selection.users is None or n in selection.users)


def _by_name(
    session: statements.Session, repo: Any, selection: Selection, part: str
) -> Iterator[Selection]:
    """Yield what ``selection`` has with an author, a branch, a bookmark or a tag of a name."""
    if can_be_name(part):
        yield from _among(selection, search.pushes_by_name(session, part, _MAX_BY_NAME))
        yield from _with(session, selection, _marked(session, repo, part))


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
    words = re.split(r'\s+|::|\.\.', text)
    parts = (re.split('[/=:(]', word)[-1].strip('.,;()[]<>"\'+') for word in words)
    return [part for part in parts if part and part not in _CALLED]


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
