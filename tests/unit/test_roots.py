"""Which roots are named to a client: each draft has one under it, and nothing public has."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st

from hgext_headless.catalog import drafts as drafts_rows
from hgext_headless.model import Parents
from hgext_headless.wire import phase_roots

NULL = bytes(20)


def node(number: int) -> bytes:
    return bytes([number + 1]) * 20


@st.composite
def graphs(draw) -> list[Parents]:
    """Changesets, parents first; the first ones may be public."""
    found: list[Parents] = []
    for number in range(draw(st.integers(1, 10))):
        earlier = st.sampled_from([NULL, *(one.node for one in found)])
        found.append(Parents(node(number), draw(earlier), draw(st.just(NULL) | earlier)))
    return found


def ancestors(graph: list[Parents], head: bytes) -> set[bytes]:
    by_node = {one.node: one for one in graph}
    found: set[bytes] = set()
    pending = [head]
    while pending:
        one = pending.pop()
        if one != NULL and one not in found:
            found.add(one)
            pending += (by_node[one].p1, by_node[one].p2)
    return found


class Repo:
    """Public history: some changesets, in an order of theirs."""

    def __init__(self, graph: list[Parents], public: set[bytes]) -> None:
        self._graph = graph
        self._order = [one.node for one in graph if one.node in public]
        self.changelog = SimpleNamespace(
            hasnode=public.__contains__,
            index=SimpleNamespace(
                get_rev=lambda node: self._order.index(node) if node in self._order else None
            ),
            node=lambda rev: self._order[rev],
        )

    def unfiltered(self) -> Repo:
        return self

    def revs(self, revset: bytes, revs: list[int]) -> SimpleNamespace:
        """The newest ancestor of all of some revisions."""
        assert revset == b'ancestor(%ld)'
        common = set.intersection(*(ancestors(self._graph, self._order[rev]) for rev in revs))
        found = max(map(self._order.index, common)) if common else None
        return SimpleNamespace(first=lambda: found)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data(), st.integers(0, 4))
def test_named(graph, draw, limit):
    """By the rule of a client: drafts are what a named node is, or is under."""
    nodes = [one.node for one in graph]
    published = draw.draw(st.sets(st.sampled_from(nodes)))
    public = set().union(*(ancestors(graph, one) for one in published)) if published else set()
    drafts = [one for one in nodes if one not in public]
    # Roots of pushes, before some of them became public; of each draft one is remembered.
    heads = draw.draw(st.sets(st.sampled_from(nodes)))
    pushed = {one for head in heads for one in ancestors(graph, head)}
    recent = [one for one in graph if one.node in pushed]
    gone = draw.draw(st.sampled_from([public, set()]))
    recent = phase_roots.draft_roots(recent, gone.__contains__)

    def stacks(wanted) -> list[Parents]:
        """What the bundles have that hold one of them."""
        holding = [head for head in heads if set(wanted) & ancestors(graph, head)]
        return [one for one in graph if any(one.node in ancestors(graph, h) for h in holding)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phase_roots, 'LIMIT', limit)
        patch.setattr(drafts_rows, 'recent_roots', lambda session, most: recent)
        patch.setattr(drafts_rows, 'stacks', lambda session, wanted: stacks(wanted))
        keys = phase_roots._named(None, Repo(graph, public))
    named = {bytes.fromhex(key.decode()) for key in keys}
    assert len(named) <= limit + 1
    for one in drafts:
        if one in pushed:
            assert named & (ancestors(graph, one) | {NULL}), 'a client would publish it'
    if len(named) <= limit:
        assert not named & public


@settings(max_examples=40, deadline=None)
@given(graphs(), st.data())
def test_of(graph, draw):
    public = draw.draw(st.sets(st.sampled_from([one.node for one in graph])))
    drafts = {one.node for one in graph if one.node not in public}
    found = {one.node for one in phase_roots.draft_roots(graph, public.__contains__)}
    assert found == {
        one.node for one in graph if one.node in drafts and not {one.p1, one.p2} & drafts
    }


def test_too_many_to_look_at(monkeypatch):
    """The null revision: all that the client has pushed stays draft."""
    monkeypatch.setattr(phase_roots, '_MOST', 3)
    many = [Parents(node(number), NULL, NULL) for number in range(4)]
    monkeypatch.setattr(drafts_rows, 'recent_roots', lambda session, most: many[:most])
    assert phase_roots._named(None, Repo([], set())) == {b'0' * 40: b'1'}
