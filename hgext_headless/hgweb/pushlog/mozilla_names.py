"""Names for styles that were made for Mozilla's pushlog, such as ``gitweb_mozilla``.

The template ``pushlog`` gets them in addition to our own:

- ``entries``: the changesets, the newest push first, the tip-most first in each, with ``author``,
  ``desc``, ``files``, ``rev`` (empty for a draft), ``node``, ``parents``, ``tags``, ``branches``,
  ``inbranch``, ``id`` (of the push), ``parity``, ``push`` (``user`` and ``date``, on the first
  changeset of a push only), ``hidden`` and ``mergerollup`` (``count``) if that one is a merge
- ``latestentry``: the first of them
- ``changenav``: links to other pages, each with ``page`` and ``label``
- ``querydescription``, ``startdate``, ``enddate``, ``archives``, ``rev``

Changesets that are gone are left out: there is nothing to show of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mercurial import encoding, templateutil
from mercurial.hgweb import webutil
from mercurial.node import hex, nullid

from ...model import Changeset, Entry

#: Pushes with their changesets.
Listed = Iterable[tuple[Entry, Sequence[Changeset]]]


def of_page(
    web: Any, listed: Callable[[], Listed], pages: Iterable[dict[bytes, Any]], page_vars: Any
) -> dict[bytes, Any]:
    """Return the names for a page, except those that our own templates have too."""

    def entries(context: Any) -> Iterator[dict[bytes, Any]]:
        return _entries(web.repo, listed())

    def latest(context: Any) -> Iterator[dict[bytes, Any]]:
        yield from itertools.islice(entries(context), 1)

    return {
        b'entries': templateutil.mappinggenerator(entries),
        b'latestentry': templateutil.mappinggenerator(latest),
        # So that links to other pages keep the requested user or branch.
        b'changenav': templateutil.mappinglist(
            [{**page, b'sessionvars': page_vars} for page in pages if not page[b'current']]
        ),
        b'archives': web.archivelist(b'tip'),
        b'rev': 0,
    }


def _entries(repo: Any, listed: Listed) -> Iterator[dict[bytes, Any]]:
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
