"""What one push changes: its base, its files, and one diff from the base to its head.

Mercurial computes the diff, as for the page of a changeset. A draft's bundle is laid over the
repository for it. The cost is bounded, and what is left out is said.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mercurial import copies, patch, pycompat, scmutil, templateutil
from mercurial.hgweb import common, webutil
from mercurial.node import hex, nullid

from ... import hgcompat
from ...catalog import names, pushlog, statements
from ...errors import HeadlessError, Refused, Temporary
from ...model import Changeset, Entry
from .. import pages

#: Maximum number of changesets of a push whose diff is made, and of bytes of each description.
MOST_CHANGESETS, MOST_OF_DESCRIPTION = 1000, 20_000
#: Maximum number of files that are listed, of those whose lines are counted, and of the bytes of
#: the latter, before and after the push.
_MOST_LISTED, _MOST_COUNTED, _MOST_BYTES = 1000, 300, 16 << 20
#: Maximum number of lines that the diff on a page changes, and number from which it is folded.
_MOST_LINES, _LONG = 10_000, 400
#: Maximum length in bytes of a line there: a file with a longer one is left out.
_LONGEST_LINE = 10_000
#: Maximum number of parents that are named beside the base of a diff.
_MOST_MERGED = 10
#: Number of files from which on their list and their diff are folded.
_MANY = 30
#: Maximum number of bytes of the files of a raw diff, before and after the push.
_MOST_RAW = 256 << 20


def found(session: statements.Session, push_id: int) -> tuple[list[Changeset], int]:
    """Return the newest changesets of a push, parents first, and the number of all of them.

    Long texts are cut, as in a list.
    """
    size = pushlog.sizes(session, [push_id])[push_id]
    start = max(0, size - MOST_CHANGESETS)
    shown = MOST_CHANGESETS, MOST_OF_DESCRIPTION
    return pushlog.changesets_from(session, push_id, start, *shown), size


def heads(changesets: Sequence[Changeset]) -> list[bytes]:
    """Return the heads of those of ``changesets`` that are not gone, the tip-most first."""
    live = [changeset for changeset in changesets if not changeset.is_tombstone]
    inner = {parent for changeset in live for parent in (changeset.p1, changeset.p2)}
    return [changeset.node for changeset in reversed(live) if changeset.node not in inner]


@dataclass(frozen=True)
class Diff:
    """The diff of a push, from ``base`` to ``head``, which are contexts.

    ``merged`` are other parents of the push, of which the diff shows what they bring. ``files`` are
    the files that differ, ``sources`` what they were copied or renamed from. ``counts`` are the
    numbers of lines that were added and removed, for those that were looked at; the page has the
    diff of ``shown``, with the numbers that Mercurial gives them there.
    """

    base: Any
    head: Any
    merged: list[bytes]
    files: list[bytes]
    sources: dict[bytes, bytes] = field(default_factory=dict)
    counts: dict[bytes, tuple[int, int, bool]] = field(default_factory=dict)
    shown: dict[bytes, int] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        """Number of changed lines of what is shown."""
        return sum(sum(self.counts[name][:2]) for name in self.shown)

    @functools.cached_property
    def moved(self) -> set[bytes]:
        """The files that the diff calls renamed: the first of each source, if that is gone."""
        first: dict[bytes, bytes] = {}
        for name in sorted(self.sources, key=lambda name: (name not in self.shown, name)):
            first.setdefault(self.sources[name], name)
        return {name for source, name in first.items() if source not in self.head}

    def renamed(self, names: Iterable[bytes]) -> set[bytes]:
        """Return the former names of those of ``names`` that were renamed: not on the list."""
        found = {self.sources[name] for name in names if name in self.sources}
        return {source for source in found if source not in self.head}


def diff(web: Any, changesets: Sequence[Changeset], head: bytes) -> Diff:
    """Return the diff of a push up to ``head``, which is laid over the repository."""
    repo = web.repo
    if not repo.changelog.hasnode(head):
        with repo.headless.read_catalog.reading() as session:
            drafts = names.drafts_named(session, [hex(head)])
        pages.lay(web, drafts, drafts.bundles)
        repo = web.repo
    found, merged = _base(repo, changesets, head)
    base, new = repo[found], repo[head]
    status = base.status(new)
    return Diff(base, new, merged, sorted({*status.modified, *status.added, *status.removed}))


def counted(made: Diff) -> Diff:
    """Return the diff with what the page shows of it, bounded."""
    repo = made.head.repo()
    options = patch.diffopts(repo.ui, untrusted=True)
    # Enough to know those of all that are counted, once what was renamed is left out.
    made = _with_sources(made, made.files[:_MOST_LISTED])
    renamed = made.renamed(made.sources)
    files = [name for name in made.files if name not in renamed]
    chosen, size = [], 0
    for name in files[:_MOST_COUNTED]:
        size += _size(made, name)
        if size <= _MOST_BYTES:
            chosen.append(name)
    counts: dict[bytes, tuple[int, int, bool]] = {}
    long: set[bytes] = set()
    if chosen:  # Mercurial takes no file for all files
        counts = dict.fromkeys(chosen, (0, 0, False))
        matching = scmutil.matchfiles(repo, [*chosen, *made.renamed(chosen)])
        for old, new, _header, hunks in patch.diffhunks(
            repo, made.base, made.head, matching, opts=options
        ):
            name = (new or old).path()
            changed = [line for _range, lines in hunks for line in lines]
            counts[name] = _counted(changed)
            if max(map(len, changed), default=0) > _LONGEST_LINE:
                long.add(name)
    shown, lines = [], 0
    for name in chosen:
        if name in long:
            continue
        lines += sum(counts[name][:2])
        if lines <= _MOST_LINES:
            shown.append(name)
    numbers = {name: number for number, name in enumerate(shown, 1)}
    return replace(made, files=files, counts=counts, shown=numbers)


def _with_sources(made: Diff, names: Sequence[bytes]) -> Diff:
    """Return the diff with what those of its files in ``names`` were copied or renamed from.

    Only git's format has it.
    """
    repo = made.head.repo()
    if not names or not patch.diffopts(repo.ui, untrusted=True).git:
        return made
    found = copies.pathcopies(made.base, made.head, scmutil.matchfiles(repo, names))
    new = {name: old for name, old in found.items() if old in made.base and name not in made.base}
    return replace(made, sources=new)


def _counted(lines: Sequence[bytes]) -> tuple[int, int, bool]:
    """Return how many lines a diff of a file adds and removes, and whether it is binary."""
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in (b'+', b'-'))
    return added, removed, any(line.startswith((b'Binary', b'GIT')) for line in lines)


def raw(
    web: Any, entry: Entry, changesets: Sequence[Changeset], size: int
) -> tuple[bytes, dict[bytes, Any]]:
    """Return a template of the style ``raw``, and its keywords: the whole diff.

    That of one changeset has its author, date and description, for :hg:`import`.
    """
    if size > MOST_CHANGESETS:
        raise Refused(
            f'push {entry.push_id} has {size} changesets, and a diff is made of {MOST_CHANGESETS} '
            'at most'
        )
    made = diff(web, changesets, chosen_head(web, changesets))
    made = _with_sources(made, made.files)
    total = 0
    for name in made.files:
        total += _size(made, name)
        if total > _MOST_RAW:
            raise Refused(f'the files of push {entry.push_id} are too large for one diff')
    if size == 1 and made.base == made.head.p1():
        return b'changeset', pycompat.byteskwargs(webutil.changesetentry(web, made.head))
    return b'push', {b'diff': webutil.diffs(web, made.head, made.base, None, b'raw')}


def keywords(
    web: Any, entry: Entry, changesets: Sequence[Changeset], size: int
) -> dict[bytes, Any]:
    """Return the keywords about files and diff for the page of a push."""
    ends = heads(changesets)
    if not ends or size > MOST_CHANGESETS:
        return {b'diffleftout': size if ends else b''}
    head = chosen_head(web, changesets)
    try:
        made = counted(diff(web, changesets, head))
    except HeadlessError as exc:
        comes_back = exc.kind == Temporary.kind
        line = hgcompat.to_bytes(exc.line(on_page=True))
        return {b'difffailed': line, b'comesback': comes_back}
    listed = made.files[:_MOST_LISTED]
    counts = made.counts.values()
    return {
        b'headnode': hex(head),
        b'basenode': made.base.hex(),
        b'isroot': made.base.node() == nullid,
        b'otherheads': templateutil.mappinglist(
            [{b'node': hex(node), b'pushid': entry.push_id} for node in ends if node != head]
        ),
        b'filecount': len(made.files) or b'',
        b'addedlines': sum(added for added, _removed, _binary in counts),
        b'removedlines': sum(removed for _added, removed, _binary in counts),
        b'pushfiles': templateutil.mappinggenerator(_files, args=(made, listed)),
        # Templates take the number 0 for true.
        b'morefiles': len(made.files) - len(listed) or b'',
        b'uncounted': len(made.files) - len(made.counts) or b'',
        b'countedfiles': len(made.counts),
        b'manyfiles': len(made.files) > _MANY,
        b'unshown': len(made.files) - len(made.shown) or b'',
        b'islong': made.lines > _LONG or len(made.shown) > _MANY,
        b'merged': templateutil.hybridlist(
            list(map(hex, made.merged[:_MOST_MERGED])), name=b'node'
        ),
        b'diff': _shown(web, made) if made.shown else b'',
    }


def _shown(web: Any, made: Diff) -> Any:
    """Return the diff on the page, as templates have it."""
    names = [*made.shown, *made.renamed(made.shown)]
    # In this style, each block begins with the name of its file.
    return webutil.diffs(web, made.head, made.base, names, b'raw')


def _files(context: Any, made: Diff, listed: Sequence[bytes]) -> Iterator[dict[bytes, Any]]:
    for name in listed:
        added, removed, is_binary = made.counts.get(name, (b'', b'', False))
        yield {
            b'file': name,
            b'node': made.head.hex() if name in made.head else b'',
            b'added': added,
            b'removed': removed,
            b'isbinary': is_binary,
            b'iscounted': name in made.counts,
            b'blockno': made.shown.get(name, b''),
            b'note': _note(made, name),
        }


def _note(made: Diff, name: bytes) -> bytes:
    """Return what is said of a file beside its lines."""
    if name not in made.head:
        return b'removed'
    flags = made.head.flags(name)
    kind = {b'l': b'symbolic link', b'x': b'executable'}.get(flags, b'')
    source = made.sources.get(name)
    if name not in made.base and source is None:
        return b'new %s' % kind if kind else b'new'
    notes = []
    if source is not None:
        notes.append((b'renamed from ' if name in made.moved else b'copied from ') + source)
    if made.base.flags(source or name) != flags:
        notes.append(b'now %s' % (kind or b'a regular file'))
    return b', '.join(notes)


def chosen_head(web: Any, changesets: Sequence[Changeset]) -> bytes:
    """Return the head of a push that a request names; the tip-most unless it names one.

    Raise hgweb's `ErrorResponse` (404) if there is no such head.
    """
    ends = heads(changesets)
    asked = web.req.qsparams.get(b'head', b'')
    for node in ends:
        if hex(node).startswith(asked.lower()):
            return node
    line = b"the push has no head '%s'" % hgcompat.escaped_bytes(asked)
    raise common.ErrorResponse(common.HTTP_NOT_FOUND, line)


def _size(made: Diff, name: bytes) -> int:
    both = (made.base, made.sources.get(name, name)), (made.head, name)
    return sum(context[path].size() for context, path in both if path in context)


def _base(repo: Any, changesets: Sequence[Changeset], head: bytes) -> tuple[bytes, list[bytes]]:
    """Return what a push, up to its changeset ``head``, builds on, and what else it merges.

    These are the parents that it did not bring. If it merges several, it is the one that has all
    others as ancestors, so that the diff does not show what was merged; without such a one, it is
    the one that first parents lead to, as with Mercurial's diff of a merge.
    """
    parents = {c.node: tuple(p for p in (c.p1, c.p2) if p != nullid) for c in changesets}
    reached, outside, pending = {head}, set(), [head]
    while pending:
        for parent in parents[pending.pop()]:
            if parent not in parents:
                outside.add(parent)
            elif parent not in reached:
                reached.add(parent)
                pending.append(parent)
    changelog = repo.changelog
    newest = sorted(outside, key=changelog.rev, reverse=True)
    for node in newest[:1]:
        rev = changelog.rev(node)
        if all(changelog.isancestorrev(changelog.rev(other), rev) for other in outside):
            return node, []
    first = _first_outside(parents, head)
    return first, [node for node in newest if node != first]


def _first_outside(parents: Mapping[bytes, tuple[bytes, ...]], head: bytes) -> bytes:
    node = head
    while node in parents:
        above = parents[node]
        node = above[0] if above else nullid
    return node
