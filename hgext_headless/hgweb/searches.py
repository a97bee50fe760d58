"""hgweb's own search (``log?rev=``), which takes revsets: what costs more than to read history is
refused, and so is what reads it very often.

Anybody can search, and the process answers others meanwhile.
"""

from __future__ import annotations

import re
from typing import Any

from mercurial import error, revset
from mercurial.hgweb import common, webcommands

from .. import config, hgcompat

#: Predicates and ranges, and how many of them a search may have: each reads history, and keeps what
#: it has read, or asks the database.
_READING, _MOST_READING = re.compile(rb'\w\s*\(|::|\.\.'), 10
#: The predicate that compares all history with each changeset of a set, and of one changeset.
_MATCHING, _MATCHING_ONE = (
    re.compile(rb'\bmatching\s*\(' + argument) for argument in (b'', rb'\s*\w+\s*[,)]')
)
#: How many steps ``~`` may take, for all changesets together. Mercurial takes as many as are asked.
_MOST_STEPS = 1_000_000
_ANCESTOR = b'ancestor'


def install() -> None:
    hgcompat.wrap_once(webcommands, '_search', search)
    if revset.methods[_ANCESTOR] is revset.ancestorspec:
        revset.methods[_ANCESTOR] = _ancestor


def search(orig: Any, web: Any) -> Any:
    """Answer a search, unless it costs too much. ``orig`` is hgweb's `webcommands._search`.

    Raise hgweb's `ErrorResponse` (400).
    """
    if not config.participates(web.repo):
        return orig(web)
    asked = web.req.qsparams[b'rev']
    if len(_READING.findall(asked)) > _MOST_READING:
        raise _bad(b'a search may have %d predicates and ranges' % _MOST_READING)
    if len(_MATCHING.findall(asked)) > len(_MATCHING_ONE.findall(asked)):
        raise _bad(b'the predicate matching takes one changeset in a search')
    try:
        return orig(web)
    except RecursionError as exc:
        raise _bad(b'the search is nested too deeply') from exc
    except ArithmeticError as exc:
        raise _bad(b'a number of the search is too large') from exc


def _bad(line: bytes) -> Exception:
    return common.ErrorResponse(common.HTTP_BAD_REQUEST, line)


def _ancestor(repo: Any, subset: Any, x: Any, n: Any, order: Any) -> Any:
    """The operator ``~``: `revset.ancestorspec`, with a bound for the web."""
    number = revset.getinteger(n, b'~ expects a number')
    is_web = b'REQUEST_METHOD' in repo.ui.environ and config.participates(repo)
    if number < 0 or not is_web:
        return revset.ancestorspec(repo, subset, x, n, order)
    revs = set(revset.getset(repo, revset.fullreposet(repo), x))
    if number * len(revs) > _MOST_STEPS:
        raise _bad(b'the operator ~ takes at most %d steps in a search' % _MOST_STEPS)
    for _ in range(number):
        revs = {_parent(repo, rev) for rev in revs}
    return subset & revs


def _parent(repo: Any, rev: int) -> int:
    try:
        found: int = repo.changelog.parentrevs(rev)[0]
    except error.WdirUnsupported:
        found = repo[rev].p1().rev()
    return found
