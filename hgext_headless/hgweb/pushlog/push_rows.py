"""The rows of pushes on pages: the keywords of a push and of its changesets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mercurial import encoding, templatefilters, templateutil
from mercurial.node import hex, nullid

from ...catalog import bookmarks, names as catalog_names, pushlog, search, statements
from ...model import Changeset, Entry
from .. import fates
from . import keywords, links as configured, push_page, visibility
from .json_format import text

#: Number of changesets of a push that are not folded, and maximum number that a list of pushes has
#: of each: the page of a push has more.
_UNFOLDED, MOST = 20, 200
#: Number of lines, and their width, from which on a description is folded on the page of a push,
#: and maximum number of characters of all descriptions on it.
_LONG_LINES, WIDE, _MOST_TEXT = 12, 100, 200_000
#: Maximum number of hashes in the texts of a push, or of a batch, that are looked up, and of
#: those that the database is asked for.
_MOST_HASHES, _MOST_DRAFTS = 1000, 100

#: Pushes with their changesets.
Listed = Iterable[tuple[Entry, Sequence[Changeset]]]


class Facts(NamedTuple):
    """What the database knows of listed changesets, by node: see `visibility`.

    ``again`` are the pushes that brought what was gone again, ``marked`` the bookmarks of drafts,
    ``relandings`` what backs the back-outs out, ``became`` the fates of what is obsolete,
    ``replaced`` what others replace. ``named`` are the URLs of changesets that texts name, by their
    hashes there.
    """

    states: dict[visibility.Row, visibility.State]
    again: dict[bytes, int]
    marked: dict[bytes, list[bytes]]
    backouts: dict[bytes, bytes]
    relandings: dict[bytes, bytes]
    became: dict[bytes, list[fates.Fate]]
    replaced: dict[bytes, list[bytes]]
    named: dict[str, str]

    def bookmarks(self, repo: Any, node: bytes) -> list[bytes]:
        """Return the bookmarks of a changeset."""
        drafts = map(encoding.tolocal, self.marked.get(node, ()))
        return sorted({*repo.nodebookmarks(node), *drafts})


def facts_of(
    session: statements.Session,
    web: Any,
    batch: Listed,
    last: int,
    shown: Callable[[Changeset], str],
    in_a_list: bool = True,
) -> Facts:
    """Return the facts of pushes, of a pushlog that ends with push ``last``.

    ``shown`` returns what of a description is shown. What takes long is left out ``in_a_list``.
    """
    repo = web.repo
    listed = {entry.push_id: changesets for entry, changesets in batch}
    live = [c.node for changesets in listed.values() for c in changesets if not c.is_tombstone]
    gone = [c.node for changesets in listed.values() for c in changesets if c.is_tombstone]
    brought = pushlog.brought(session, gone, with_ends=False) if gone else {}
    again = {node: one.entry.push_id for node, one in brought.items()}
    states = visibility.states_of(session, repo, listed)
    digits = visibility.USUAL if in_a_list else visibility.ANY
    backouts = visibility.backouts(session, repo, live, digits=digits)
    return Facts(
        states,
        {node: push_id for node, push_id in again.items() if push_id <= last},
        bookmarks.by_node(session, live),
        backouts,
        visibility.backouts(session, repo, backouts.values(), digits=digits),
        fates.of(session, repo, [node for node in live if states[node, 0].name == b'obsolete']),
        {} if in_a_list else fates.replaced(session, repo, live),
        _named_changesets(session, web, itertools.chain.from_iterable(listed.values()), shown),
    )


def _named_changesets(
    session: statements.Session,
    web: Any,
    changesets: Iterable[Changeset],
    shown: Callable[[Changeset], str],
) -> dict[str, str]:
    """Return the URLs of what is named, of ``changesets``, where it is ``shown``: by hashes.

    What is backed out is taken to be there.
    """

    def first(found: Iterable[Iterable[str]]) -> dict[bytes, None]:
        names = itertools.islice(itertools.chain.from_iterable(found), _MOST_HASHES)
        return dict.fromkeys(name.encode('ascii') for name in names)

    listed = list(changesets)
    backed_out = first(configured.backed_out(text(c.description), True) for c in listed)
    names = first(configured.hashes(shown(c)) for c in listed)
    others = [n for n in names if n not in backed_out and keywords.named(web.repo, n) is None]
    known = {*names, *backed_out}.difference(others)
    if others:
        known |= catalog_names.known(session, others[:_MOST_DRAFTS])
    urls = {name: web.tmpl.render(b'pushlogrev', {b'node': name}) for name in known}
    return {name.decode('ascii'): url.decode('ascii') for name, url in urls.items()}


def of_push(
    links: configured.Links,
    entry: Entry,
    changesets: Sequence[Changeset],
    rows: Sequence[dict[bytes, Any]],
    omitted: int,
    in_a_list: bool = True,
) -> dict[bytes, Any]:
    """Return the keywords of a push; of a merge ``in_a_list``, only the merge is not folded."""
    is_merge = in_a_list and bool(changesets) and changesets[0].p2 != nullid
    unfolded = 1 if is_merge else _UNFOLDED
    shown, folded = rows[:unfolded], rows[unfolded:]
    last = next((c.node.hex() for c in changesets if not c.is_tombstone), '')
    return {
        b'pushid': entry.push_id,
        b'before': entry.push_id - 1,
        b'pushuser': encoding.tolocal(entry.user),
        b'pushdate': templateutil.date((entry.date, 0)),
        b'results': keywords.mappings(links.of_push(entry.push_id, text(entry.user), last)),
        b'changesets': templateutil.mappinglist(shown),
        b'folded': templateutil.mappinglist(folded),
        b'foldedcount': len(folded) + omitted,
        b'unfolded': (
            _has(folded, b'named') or (_has(folded, b'found') and not _has(shown, b'found'))
        ),
        b'omittedcount': omitted or b'',  # templates take the number 0 for true
        b'ismerge': is_merge,
        b'gone': not rows,
    }


def _has(rows: Iterable[dict[bytes, Any]], keyword: bytes) -> bool:
    return any(row.get(keyword) for row in rows)


def row(
    web: Any,
    links: configured.Links,
    entry: Entry,
    changeset: Changeset,
    facts: Facts,
    sought: Collection[frozenset[str]] = (),
) -> dict[bytes, Any]:
    """Return the keywords of a changeset in a list.

    If it has all words of one that is ``sought``, they are marked.
    """
    node, branch = changeset.node, encoding.tolocal(changeset.branch)
    state = facts.states[visibility.row(changeset, entry.push_id)]
    backout = facts.backouts.get(node, b'')
    description = text(changeset.description)
    has = set(search.split(changeset.author + b' ' + changeset.description) if sought else ())
    words = frozenset(word for one in sought if one <= has for word in one)
    hashes = (word for one in sought for word in one if len(word) > 3)
    summary = summary_of(changeset)
    segments = list(links.linked(summary, facts.named)) if summary else []
    backed_out = configured.backed_out(description, for_people=True)
    in_summary = {segment.url for segment in segments}
    found = [link for link in links.bugs(description) if link.url]
    found = [configured.Link(f'bug {link.label}', link.url) for link in found]
    found += links.matches(description)
    return {
        b'node': hex(node),
        b'noderest': hex(node)[12:],
        b'named': any(map(node.hex().startswith, hashes)),
        b'found': bool(words),
        b'state': state.name,
        b'ismerge': changeset.p2 != nullid,
        b'gone': changeset.is_tombstone,
        b'gonedate': b'' if state.gone is None else templateutil.date((state.gone, 0)),
        b'again': facts.again.get(node, b'') if changeset.is_tombstone else b'',
        b'fates': fates.mappings(facts.became.get(node, ())),
        b'replaces': templateutil.hybridlist(
            list(map(hex, facts.replaced.get(node, ()))), name=b'node'
        ),
        b'author': _pieces(
            text(templatefilters.person(changeset.author) or changeset.author), words
        ),
        b'summary': templateutil.mappinglist(
            [
                {b'link': keywords.local(url or ''), b'pieces': _pieces(label, words)}
                for label, url in segments
            ]
        ),
        b'backedoutby': hex(backout) if backout else b'',
        b'relandedby': hex(facts.relandings[backout]) if backout in facts.relandings else b'',
        b'backsout': templateutil.hybridlist(
            [name.encode('ascii') for name in backed_out if name not in summary.lower()],
            name=b'node',
        ),
        b'branchname': b'' if branch == b'default' else branch,
        b'tagnames': templateutil.hybridlist(web.repo.nodetags(node), name=b'tagname'),
        b'bookmarknames': templateutil.hybridlist(
            facts.bookmarks(web.repo, node), name=b'bookmarkname'
        ),
        b'reviewers': keywords.mappings(links.reviewers(description)),
        b'links': keywords.mappings(link for link in found if link.url not in in_summary),
    }


def messages(
    links: configured.Links, changesets: Sequence[Changeset], named: Mapping[str, str]
) -> Iterator[tuple[Changeset, dict[bytes, Any]]]:
    """Yield changesets with the keywords of their descriptions below the first line.

    The page has `_MOST_TEXT` characters of them.
    """
    room = _MOST_TEXT
    for changeset in changesets:
        rest = text(changeset.description).strip().partition('\n')[2].strip('\n')
        shown = rest[: min(room, configured.LOOKED_AT)]
        room -= len(shown)
        lines = len(shown.splitlines())
        yield (
            changeset,
            {
                b'message': keywords.mappings(links.linked(shown, named) if shown else ()),
                b'messagelines': lines,
                b'longmessage': lines > _LONG_LINES or len(shown) > _LONG_LINES * WIDE,
                b'cutmessage': (
                    len(shown) < len(rest)
                    or len(changeset.description) >= push_page.MOST_OF_DESCRIPTION
                ),
            },
        )


def summary_of(changeset: Changeset) -> str:
    """Return the first line of a description."""
    return (text(changeset.description).strip().splitlines() or [''])[0]


def _pieces(shown: str, words: frozenset[str]) -> Any:
    """Return a text in pieces, of which those that are found by one of ``words`` are hits."""

    def is_found(part: str) -> bool:
        return bool(words) and not words.isdisjoint(search.split(part.encode('utf-8', 'replace')))

    pieces, start = [], 0
    for found in search.WORD.finditer(shown) if is_found(shown) else ():  # not in most rows
        if is_found(found[0]):
            pieces += [(shown[start : found.start()], b''), (found[0], b'hit')]
            start = found.end()
    pieces.append((shown[start:], b''))
    return templateutil.mappinglist(
        [{b'label': keywords.local(label), b'hit': hit} for label, hit in pieces]
    )
