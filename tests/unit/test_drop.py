"""Which drafts go, which stay, and which are stored anew: of any stacks in any bundles."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from hgext_headless import place
from hgext_headless.catalog import drafts, drop as drop_rows
from hgext_headless.catalog.drop import Candidate
from hgext_headless.errors import Refused
from hgext_headless.lifecycle import drop
from hgext_headless.model import Bundle

NULL = bytes(20)


def node(number: int) -> bytes:
    return bytes([number + 1]) * 20


class Case(NamedTuple):
    """``parents`` of all drafts; ``bundles`` of candidates, then ``others``."""

    parents: dict[bytes, tuple[bytes, bytes]]
    public: frozenset[bytes]
    bundles: list[list[bytes]]
    others: list[list[bytes]]
    chosen: frozenset[bytes]

    def ancestors(self, head: bytes) -> set[bytes]:
        """Itself, too, and no public one."""
        found: set[bytes] = set()
        pending = [head]
        while pending:
            one = pending.pop()
            if one in self.parents and one not in found and one not in self.public:
                found.add(one)
                pending += self.parents[one]
        return found

    def needed(self) -> set[bytes]:
        """What drafts of the candidates build on that nobody has chosen."""
        held = {one for nodes in self.bundles for one in nodes}
        elsewhere = {one for nodes in self.others for one in nodes}
        kept = held - self.chosen - self.public - elsewhere
        return {below for one in kept for below in self.ancestors(one)}


@st.composite
def cases(draw) -> Case:
    count = draw(st.integers(1, 8))
    parents = {}
    for number in range(count):
        earlier = st.sampled_from([NULL, *map(node, range(number))])
        parents[node(number)] = draw(st.tuples(earlier, st.just(NULL) | earlier))
    nodes = list(parents)
    case = Case(parents, frozenset(), [], [], draw(st.frozensets(st.sampled_from(nodes))))
    heads = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=5, unique=True))
    bundles = [sorted(case.ancestors(head)) for head in heads]
    split = draw(st.integers(1, len(bundles)))
    # Public is a draft that was published since then, and all that it builds on.
    published = draw(st.none() | st.sampled_from(nodes))
    public = frozenset(case.ancestors(published)) if published else frozenset()
    return case._replace(bundles=bundles[:split], others=bundles[split:], public=public)


def candidates(case: Case) -> list[Candidate]:
    return [
        Candidate(
            number,
            Bundle(f'key{number}', 1, '', nodes[-1], (), tuple(nodes)),
            case.chosen & set(nodes),
        )
        for number, nodes in enumerate(case.bundles)
    ]


def planned(case: Case, chosen_bundles: list[Candidate], done=None) -> drop.Plan:
    repo = SimpleNamespace(
        invalidateall=lambda: None,
        revs=lambda revset: [],
        changelog=SimpleNamespace(hasnode=case.public.__contains__),
    )
    repo.unfiltered = lambda: repo

    def read(question, *args):
        if question is drafts.parents:
            return {one: case.parents[one] for one in args[0]}
        assert question is drop_rows.held_elsewhere
        wanted, keys = args
        kept = [c.bundle.nodes for c in candidates(case) if c.bundle.key not in keys]
        return {one for one in wanted if any(one in nodes for nodes in (*case.others, *kept))}

    backend = SimpleNamespace(catalog=SimpleNamespace(read=read))
    return drop.plan(repo, backend, chosen_bundles, case.chosen, done)


quickly = settings(max_examples=40, deadline=None)


@quickly
@given(cases())
def test_plan(case):
    found = planned(case, candidates(case))
    elsewhere = {one for nodes in case.others for one in nodes}
    held = {one for nodes in case.bundles for one in nodes}
    kept = set().union(*map(case.ancestors, found.stays))
    assert found.keys == {f'key{number}' for number in range(len(case.bundles))}
    assert found.size == len(case.bundles)
    # Nothing goes that was not chosen, that is public, or that is there otherwise.
    assert found.expired <= case.chosen & held
    assert not found.expired & (case.public | elsewhere | kept)
    # Nothing is lost that does not go.
    assert held <= found.expired | case.public | elsewhere | kept
    # All that was chosen goes, but for what others need.
    gone = (case.chosen & held) - case.public - elsewhere - case.needed()
    assert found.expired == gone
    # A draft that is under another one comes with its bundle.
    for head in found.stays:
        assert not any(head in case.ancestors(one) for one in found.stays if one != head)


@quickly
@given(cases())
def test_dry_run_in_steps(case):
    """As if the bundles of the steps before were gone, and what stays of them stored."""
    done = drop.DryRun(set(), set())
    expired: list[bytes] = []
    for candidate in candidates(case):
        expired += planned(case, [candidate], done).expired
    assert len(expired) == len(set(expired))
    assert set(expired) <= case.chosen - case.public
    assert not set(expired) & case.needed()
    assert not set(expired) & {one for nodes in case.others for one in nodes}
    assert done.keys == {candidate.bundle.key for candidate in candidates(case)}


def test_repository_with_drafts_of_its_own():
    repo = SimpleNamespace(invalidateall=lambda: None, revs=lambda revset: [0])
    repo.unfiltered = lambda: repo
    with pytest.raises(Refused, match='has drafts in itself'):
        place.unchanging(repo)
