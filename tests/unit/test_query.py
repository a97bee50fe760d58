"""The parameters of the pushlog, whatever they are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings, strategies as st
from mercurial import error
from mercurial.hgweb import common, request as requests

from hgext_headless.catalog import epochs, pushlog
from hgext_headless.hgweb.pushlog import meanings, query
from hgext_headless.hgweb.pushlog.query import PAGE
from hgext_headless.model import Entry, PushOf, Selection

#: The push that brought it, by changeset. Each push has one; 99 is public and came with none.
LAST = 23
BROUGHT = {bytes([number]) * 20: number for number in range(1, LAST + 4)}
PUBLIC = b'\x63' * 20
quickly = settings(max_examples=40, deadline=None)


def entry(push_id: int) -> Entry:
    return Entry(push_id, b'alice' if push_id % 2 else b'bob', 1000 + push_id)


@pytest.fixture(autouse=True, scope='module')
def _ask_the_stand_in() -> Iterator[None]:
    """The catalog's functions of a session ask the `Session` of this file."""

    def of(name: str):
        return lambda session, *args, **kwargs: getattr(session, name)(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for name in ('brought', 'tombstoned', 'has_branch', 'imported_push_id', 'entries'):
            patch.setattr(pushlog, name, of(name))
        patch.setattr(epochs, 'current', lambda session: None)
        yield


class Session:
    """What the database answers; of one repository, whose pushes are in `BROUGHT`."""

    def brought(self, nodes) -> dict[bytes, PushOf]:
        return {n: PushOf(entry(BROUGHT[n]), b'', b'') for n in nodes if n in BROUGHT}

    def tombstoned(self, nodes) -> dict[bytes, int]:
        return {}

    def has_branch(self, branch: bytes) -> bool:
        return branch == b'drafts'

    def imported_push_id(self) -> int:
        return 0

    def entries(
        self, selection: Selection, newest: bool, limit: int | None, offset: int = 0
    ) -> list[Entry]:
        found = [
            one
            for one in map(entry, range(1, LAST + 4))
            if (selection.after is None or one.push_id > selection.after)
            and (selection.upto is None or one.push_id <= selection.upto)
            and (selection.since is None or one.date > selection.since)
            and (selection.before is None or one.date < selection.before)
            and (selection.users is None or one.user in selection.users)
            and (selection.push_ids is None or one.push_id in selection.push_ids)
        ]
        found = found[::-1] if newest else found
        return found[offset:][: limit or len(found)]


def _lookup(repo: Any, name: bytes) -> Any:
    raise error.RepoLookupError(b"unknown revision '%s'" % name)


REPO = SimpleNamespace(
    changelog=SimpleNamespace(hasnode=lambda node: node == PUBLIC),
    nodeconstants=SimpleNamespace(wdirid=b'\xff' * 20),
    branchmap=lambda: SimpleNamespace(hasbranch=lambda branch: branch == b'default'),
)
BACKEND = SimpleNamespace(settings=SimpleNamespace(pushlog_limit=0))


@pytest.fixture(autouse=True, scope='module')
def _no_names():
    """No name but a full hash is known."""
    patch = pytest.MonkeyPatch()
    patch.setattr(query.scmutil, 'revsymbol', _lookup)
    patch.setattr(query.discovery, 'resolve', lambda public, repo, key, session: public(key))
    patch.setattr(query.catalog_names, 'gone', lambda session, name: None)
    yield
    patch.undo()


def parsed(params: list[tuple[bytes, bytes]], last: int = LAST) -> query.Query:
    found = requests.multidict()
    for name, value in params:
        found.add(name, value)
    return query.parse(Session(), REPO, SimpleNamespace(qsparams=found), last)


def ids(params: list[tuple[bytes, bytes]], last: int = LAST) -> list[int]:
    asked = parsed(params, last)
    return [one.push_id for one in query.entries(BACKEND, Session(), asked)]


ITEMS = [b'startID', b'endID', b'startdate', b'enddate', b'fromchange', b'tochange', b'changeset',
         b'user', b'branch', b'version', b'full', b'tipsonly', b'node']  # fmt: skip
VALUES = (
    st.integers(-5, 2**70).map(lambda number: b'%d' % number)
    | st.sampled_from([*(node.hex().encode() for node in (*BROUGHT, PUBLIC)), b'', b'alice'])
    | st.sampled_from([b'default', b'drafts', b'1', b'2', b'now', b'2020-01-01'])
    | st.binary(max_size=12)
)


@quickly
@given(st.lists(st.tuples(st.sampled_from(ITEMS), VALUES), max_size=6), st.integers(0, LAST))
def test_any_parameters(params, last):
    """An answer of no push that may not be shown, or one of two errors."""
    try:
        asked = parsed(params, last)
    except error.RepoLookupError:
        return
    except common.ErrorResponse as exc:
        assert exc.code in (400, 404)
        assert exc.message.decode().isprintable()
        return
    assert asked.selection.upto is not None and asked.selection.upto <= last
    assert asked.version in (1, 2)
    given_ = {name for name, value in params}
    narrowing = {b'user', b'changeset', b'startID', b'fromchange'} & given_
    assert asked.page is None or (asked.page >= 1 and not narrowing)
    found = query.entries(BACKEND, Session(), asked)
    assert [one.push_id for one in found] == sorted(one.push_id for one in found)
    assert all(one.push_id <= last for one in found)
    for kind, value in asked.words:
        assert (kind, value) in params


@quickly
@given(st.integers(-3, 30), st.integers(-3, 30))
def test_ids(start, end):
    found = ids([(b'startID', b'%d' % start), (b'endID', b'%d' % end)])
    assert found == [number for number in range(1, LAST + 1) if start < number <= end]


@quickly
@given(st.sampled_from(sorted(BROUGHT)), st.sampled_from(sorted(BROUGHT)))
def test_changes(first, last):
    """Of pushes that are shown; others are unknown."""
    params = [(b'fromchange', first.hex().encode()), (b'tochange', last.hex().encode())]
    if max(BROUGHT[first], BROUGHT[last]) > LAST:
        with pytest.raises(error.RepoLookupError):
            ids(params)
    else:
        assert ids(params) == list(range(BROUGHT[first] + 1, BROUGHT[last] + 1))


def test_public_history_came_with_no_push():
    name = PUBLIC.hex().encode()
    assert ids([(b'fromchange', name)]) == list(range(1, LAST + 1))
    assert ids([(b'changeset', name)]) == []


@pytest.mark.parametrize('last', [0, 1, PAGE, PAGE + 1, LAST])
def test_pages(last):
    """Together they have each push once; the newest come first."""
    pages = [ids([(b'node', b'%d' % page)], last) for page in range(1, LAST)]
    assert [one for page in pages[::-1] for one in page] == list(range(1, last + 1))
    assert all(len(page) in (0, PAGE, last % PAGE) for page in pages)


@pytest.mark.parametrize(
    ('lower', 'expected'),
    [
        ([b'startdate', b'fromchange', b'startID'], b'startdate'),
        ([b'startID', b'fromchange'], b'fromchange'),
        ([b'startID'], b'startID'),
    ],
)
def test_one_lower_bound_counts(lower, expected):
    values = {b'startdate': b'1005', b'fromchange': (b'\x07' * 20).hex().encode(), b'startID': b'9'}
    asked = parsed([(name, values[name]) for name in lower])
    assert asked.words == ((expected, values[expected]),)
    after = {b'startdate': 5, b'fromchange': 7, b'startID': 9}[expected]
    found = ids([(name, values[name]) for name in lower])
    assert found == list(range(after + 1, LAST + 1))


def test_empty_dates_of_a_form():
    assert parsed([(b'startdate', b''), (b'enddate', b'')]).page == 1
    with pytest.raises(common.ErrorResponse):
        parsed([(b'startID', b'')])


@pytest.mark.parametrize('value', [b'\x1b[2J', b'\xff', b'\xe2\x80\xae', b'<script>', b'x' * 5000])
@pytest.mark.parametrize('item', [b'startID', b'enddate', b'branch', b'version'])
def test_what_an_error_repeats(item, value):
    """No control character, and not much."""
    with pytest.raises(common.ErrorResponse) as caught:
        parsed([(b'startID', b'1'), (item, value)] if item == b'enddate' else [(item, value)])
    text = caught.value.message.decode()
    assert text.isprintable(), quote_from_bytes(value)
    assert len(text) < 1000


def test_an_error_repeats_text_as_it_is(monkeypatch):
    monkeypatch.setattr(query.encoding, 'encoding', b'UTF-8')
    for item in (b'startID', b'branch', b'search'):
        with pytest.raises(common.ErrorResponse) as caught:
            parsed([(item, '²😀'.encode() if item != b'search' else '😀'.encode())])
        assert '😀' in caught.value.message.decode()


@pytest.mark.parametrize('text', [b'&id=1' * 13_000 + b' x', b'bug' * 20_000, b'b=1#' * 16_000])
def test_time_to_tell_that_it_is_no_bug(text):
    started = time.process_time()
    assert meanings._BUG.fullmatch(text) is None
    assert time.process_time() - started < 0.1


def test_branch():
    assert parsed([(b'branch', b'drafts')]).selection.branch == b'drafts'
    assert parsed([(b'branch', b'default')]).selection.branch == b'default'
    with pytest.raises(common.ErrorResponse, match="unknown branch 'none'"):
        parsed([(b'branch', b'none')])


def test_far_pages_of_a_branch():
    assert parsed([(b'branch', b'drafts'), (b'node', b'999999')]).page == 1000
    assert parsed([(b'node', b'999999')]).page == 999999
