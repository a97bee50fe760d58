"""The body of a push: all of it comes out, no more than its limit, and never much at once."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings, strategies as st

from hgext_headless.errors import Refused, Temporary
from hgext_headless.receive import stream

DATA = st.binary(max_size=300) | st.builds(
    lambda piece, times: piece * times, st.binary(min_size=1, max_size=9), st.integers(0, 9000)
)
quickly = settings(max_examples=50, deadline=None)


def opened(data: bytes, limit: int) -> stream.Body:
    return stream.Body(io.BytesIO(data), limit, b'push', b'')


@quickly
@given(DATA, st.lists(st.integers(0, 500), max_size=20))
def test_all_comes_out(data, sizes):
    source = opened(data, len(data))
    position = 0
    for size in sizes:
        size = min(size, len(data) - position)
        assert source.read(size) == data[position : position + size]
        position += size
    source.largest = len(data)
    assert source.read(len(data) - position) == data[position:]


@quickly
@given(DATA.filter(bool), st.data())
def test_not_one_byte_above_the_limit(data, draw):
    limit = draw.draw(st.integers(0, len(data) - 1))
    source = opened(data, limit)
    source.largest = len(data)
    assert source.read(limit) == data[:limit]
    for _time in range(2):  # and nothing after it
        with pytest.raises(Refused, match=rf'max-push-size \({limit} bytes\)'):
            source.read(1)


@quickly
@given(DATA.filter(bool), st.data())
def test_what_breaks_off(data, draw):
    """It is temporary, once and for all."""
    source = opened(data[: draw.draw(st.integers(0, len(data) - 1))], 2 * len(data))
    source.largest = len(data)
    for size in (len(data), 1):
        with pytest.raises(Temporary, match='broke off before its end'):
            source.read(size)


def test_a_single_large_read():
    """And nothing is read after it, though it were there."""
    source = opened(b'data', 1 << 40)
    source.largest = stream.MAX_READ
    for size in (stream.MAX_READ + 1, 1):
        with pytest.raises(Refused, match='a single chunk'):
            source.read(size)
