"""What a replica shows of the pushlog: what it can serve, and nothing after what it can't."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st

from hgext_headless.catalog import drafts, pushlog
from hgext_headless.hgweb.pushlog import visibility
from hgext_headless.model import ServingNeeds

NULL = bytes(20)


def node(number: int) -> bytes:
    return number.to_bytes(20, 'big')


@pytest.fixture(autouse=True, scope='module')
def _ask_the_stand_in() -> Iterator[None]:
    """The catalog's functions of a session ask the `Session` of this file."""

    def of(name: str):
        return lambda session, *args, **kwargs: getattr(session, name)(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for name in ('last_push_id', 'imported_push_id', 'entries', 'needs', 'sizes', 'brought'):
            patch.setattr(pushlog, name, of(name))
        patch.setattr(drafts, 'known', of('known'))
        yield


class Session:
    """Pushes of one changeset each: push ``i`` brought changeset ``i``."""

    def __init__(self, pushes: list[ServingNeeds], imported: int = 0) -> None:
        self.pushes = pushes
        self.imported = imported
        self.asked: list[int] = []
        #: Of each push, as it says; and the most pushes that were asked for at a time.
        self.size, self.most = 1, 0

    def last_push_id(self) -> int:
        return len(self.pushes)

    def imported_push_id(self) -> int:
        return self.imported

    def entries(self, selection, newest, limit) -> list[SimpleNamespace]:
        ids = range(selection.after + 1, selection.upto + 1)[:limit]
        return [SimpleNamespace(push_id=one) for one in ids]

    def needs(self, push_ids) -> list[ServingNeeds]:
        self.asked += push_ids
        self.most = max(self.most, len(push_ids))
        return [self.pushes[number - 1] for number in push_ids]

    def sizes(self, push_ids) -> dict[int, int]:
        return dict.fromkeys(push_ids, self.size)

    def brought(self, nodes) -> dict[bytes, None]:
        return {one: None for one in nodes if 0 < int.from_bytes(one, 'big') <= len(self.pushes)}

    def known(self, nodes) -> set[bytes]:
        return set()


def repo_with(has: set[bytes]) -> SimpleNamespace:
    made = SimpleNamespace(root=b'/r', changelog=SimpleNamespace(hasnode=has.__contains__))
    made.unfiltered = lambda: made
    return made


def backend() -> SimpleNamespace:
    memory: dict = {}
    return SimpleNamespace(read_catalog=SimpleNamespace(memory=lambda *key: memory))


@st.composite
def pushes(draw) -> list[ServingNeeds]:
    """Public changesets, and drafts that are in a bundle, each on an earlier one."""
    found = []
    for number in range(1, draw(st.integers(1, 12)) + 1):
        parent = draw(st.integers(0, number - 1))
        found.append(ServingNeeds(number, node(number), (node(parent),), draw(st.booleans())))
    return found


@settings(max_examples=60, deadline=None)
@given(pushes(), st.data())
def test_last_shown(made, draw):
    public = [one.node for one in made if not one.bundled]
    has = set(draw.draw(st.lists(st.sampled_from(public)) if public else st.just([])))
    # A draft's parents are what a push before it brought.
    missing = [one.push_id for one in made if not (one.node in has or one.bundled)]
    expected = missing[0] - 1 if missing else len(made)
    session, server = Session(made), backend()
    assert visibility.last_shown(server, session, repo_with(has)) == expected
    # It looks no more at what it has shown, and goes on where it stopped.
    session.asked.clear()
    assert visibility.last_shown(server, session, repo_with(set(public))) == len(made)
    assert session.asked == list(range(expected + 1, len(made) + 1))


def test_public_parent_that_has_not_come():
    """Of a draft on public history that came with no push."""
    elsewhere = node(99)
    made = [ServingNeeds(1, node(1), (NULL,), True), ServingNeeds(2, node(2), (elsewhere,), True),
            ServingNeeds(3, node(3), (node(1),), True)]  # fmt: skip
    assert visibility.last_shown(backend(), Session(made), repo_with(set())) == 1
    assert visibility.last_shown(backend(), Session(made), repo_with({elsewhere})) == 3


def test_an_older_pushlog_is_not_waited_for():
    made = [ServingNeeds(number, node(number), (NULL,), False) for number in (1, 2, 3)]
    assert visibility.last_shown(backend(), Session(made, imported=2), repo_with(set())) == 2


def test_more_than_one_batch(monkeypatch):
    monkeypatch.setattr(visibility, '_BATCH', 2)
    made = [ServingNeeds(number, node(number), (NULL,), number != 5) for number in range(1, 8)]
    assert visibility.last_shown(backend(), Session(made), repo_with(set())) == 4
    assert visibility.last_shown(backend(), Session(made), repo_with({node(5)})) == 7


@pytest.mark.parametrize('size, most', [(1, 7), (10_000, 2), (10_001, 1), (1_000_000, 1)])
def test_large_pushes_are_not_in_memory_together(size, most):
    """A hundred pushes of 10,000 changesets took 370 MB, in each process that began."""
    made = [ServingNeeds(number, node(number), (NULL,), True) for number in range(1, 8)]
    session = Session(made)
    session.size = size
    assert visibility.last_shown(backend(), session, repo_with(set())) == 7
    assert session.most == most and session.asked == list(range(1, 8))
