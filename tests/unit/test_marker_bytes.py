"""Obsolescence markers: stored and read again, and which of them go with a changeset."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from mercurial import obsolete
from mercurial.node import nullid

from hgext_headless.bundles import markers
from hgext_headless.errors import Refused

#: Few, so that they meet.
NODES = st.integers(1, 6).map(lambda number: bytes([number]) * 20)
SHORT = st.binary(max_size=20)
DATES = st.tuples(st.integers(0, 2**40).map(float), st.integers(-14 * 60, 14 * 60).map(60 .__mul__))
MARKERS = st.tuples(
    NODES,
    st.lists(NODES, max_size=3).map(tuple),
    st.sampled_from([0, obsolete.bumpedfix]),
    st.lists(st.tuples(SHORT, SHORT), max_size=3).map(tuple),
    DATES,
    st.none() | st.lists(NODES, min_size=1, max_size=2).map(tuple),
)
quickly = settings(max_examples=50, deadline=None)


def stream(found, version: int) -> bytes:
    return b''.join(obsolete.encodemarkers(found, addheader=True, version=version))


@quickly
@given(MARKERS)
def test_stored_and_read_again(marker):
    assert markers.unpack(markers.pack(marker).data) == marker


@quickly
@given(st.lists(MARKERS, max_size=4))
def test_from_a_client(found):
    assert list(markers.read(stream(found, 1))) == found


@quickly
@given(MARKERS)
def test_nodes(marker):
    """Successors; of a pruned changeset itself and its parents."""
    predecessor, successors, *_rest, parents = marker
    packed = markers.pack(marker)
    assert packed.predecessor == predecessor
    assert set(packed.nodes) == (set(successors) or {predecessor, *(parents or ())})
    assert len(set(packed.nodes)) == len(packed.nodes)


def test_null_is_no_node_to_exchange_with():
    marker = (b'\1' * 20, (), 0, (), (0.0, 0), (nullid,))
    assert markers.nodes(marker) == (b'\1' * 20,)


@pytest.mark.parametrize(
    'marker',
    [
        (b'\1' * 20, (nullid,), 0, (), (0.0, 0), None),
        (b'\1' * 32, (b'\2' * 32,), obsolete.usingsha256, (), (0.0, 0), None),
    ],
    ids=['null', 'sha256'],
)
def test_not_valid(marker):
    with pytest.raises(Refused, match='not valid'):
        list(markers.read(stream([marker], 1)))


def test_unknown_version():
    with pytest.raises(Refused, match='a format that is not supported'):
        list(markers.read(b'\x63rest'))


@quickly
@given(st.lists(MARKERS, max_size=12), st.sets(NODES))
def test_relevant(found, starts):
    """The least set with the markers of what starts, and of their predecessors."""
    expected: set = set()
    reached = set(starts)
    while True:
        more = {m for m in found if reached & set(markers.nodes(m))}
        if more == expected:
            break
        expected = more
        reached |= {m[0] for m in more}
    relevant = markers.relevant(found, starts.__contains__)
    assert set(relevant) == expected
    assert len(relevant) == len(expected)
