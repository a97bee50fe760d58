"""The body of a push under every compression: all of it comes out, and never more at once."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given, settings, strategies as st
from mercurial import util

from hgext_headless.errors import Refused, Temporary
from hgext_headless.receive import stream

ENGINES = {b'UN': b'none', b'GZ': b'zlib', b'BZ': b'bz2', b'ZS': b'zstd'}
DATA = st.binary(max_size=300) | st.builds(
    lambda piece, times: piece * times, st.binary(min_size=1, max_size=9), st.integers(0, 9000)
)
compressions = pytest.mark.parametrize('compression', ENGINES)
quickly = settings(max_examples=50, deadline=None)


def packed(compression: bytes, data: bytes) -> bytes:
    engine = util.compengines[ENGINES[compression]]
    return b''.join(engine.compressstream(iter([data])))


class Network:
    """A source that gives at most ``size`` bytes of what it is asked for."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file = io.BytesIO(data)
        self._size = size

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, self._size))


def opened(compression: bytes, data: bytes, limit: int, size: int = 65536) -> stream.BoundedStream:
    engine = stream.BoundedEngine(compression, limit)
    # What is not compressed comes from Mercurial's own buffer, which gives what it is asked for.
    network = Network(packed(compression, data), 1 << 20 if compression == b'UN' else size)
    return engine.decompressorreader(network)


@compressions
@quickly
@given(DATA, st.lists(st.integers(0, 500), max_size=20), st.integers(1, 5000))
def test_all_comes_out(compression, data, sizes, piece):
    source = opened(compression, data, len(data), piece)
    position = 0
    for size in sizes:
        size = min(size, len(data) - position)
        assert source.read(size) == data[position : position + size]
        position += size
    assert source.read(len(data) - position) == data[position:]


@compressions
@quickly
@given(DATA.filter(bool), st.data())
def test_not_one_byte_above_the_limit(compression, data, draw):
    limit = draw.draw(st.integers(0, len(data) - 1))
    source = opened(compression, data, limit)
    assert source.read(limit) == data[:limit]
    for _time in range(2):  # and nothing after it
        with pytest.raises(Refused, match=rf'max-push-size \({limit} bytes\)'):
            source.read(1)


@compressions
@quickly
@given(DATA.filter(bool), st.data())
def test_what_breaks_off(compression, data, draw):
    """It is temporary, once and for all; unless only the end mark of the compression is cut."""
    whole = packed(compression, data)
    cut = whole[: draw.draw(st.integers(0, len(whole) - 1))]
    source = stream.BoundedStream(Network(cut, 65536), compression, 2 * len(data))
    try:
        assert source.read(len(data)) == data
        assert compression != b'UN'
    except Temporary as exc:
        assert 'broke off before its end' in str(exc)
    with pytest.raises(Temporary, match='broke off before its end'):
        source.read(1)


@pytest.mark.parametrize('compression', [b'GZ', b'BZ', b'ZS'])
def test_garbage(compression):
    source = stream.BoundedStream(Network(b'no such stream' * 9, 65536), compression, 1000)
    with pytest.raises(Refused, match='garbled'), stream.readable():
        source.read(10)


@compressions
def test_a_single_large_read(compression):
    """And nothing is read after it, though it were there."""
    source = opened(compression, b'data', 1 << 40)
    for size in (stream.MAX_READ + 1, 1):
        with pytest.raises(Refused, match='a single chunk'):
            source.read(size)


@pytest.mark.parametrize('compression', [b'GZ', b'BZ', b'ZS'])
def test_no_more_is_unpacked_than_is_read(compression):
    """Of 64 MB that are 60 KB at most."""
    body = packed(compression, bytes(64 << 20))
    assert len(body) < 1 << 17
    source = stream.BoundedStream(io.BytesIO(body), compression, 1 << 30)
    tracemalloc.start()
    try:
        assert source.read(1000) == bytes(1000)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_unknown_compression():
    with pytest.raises(Refused, match='compression'):
        stream.BoundedEngine(b'XX', 1)
