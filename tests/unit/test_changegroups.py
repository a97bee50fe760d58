"""Changegroups of any content: normalized, and spliced."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings, strategies as st
from mercurial import changegroup

from hgext_headless import hgcompat
from hgext_headless.bundles import changegroups
from hgext_headless.errors import Refused
from hgext_headless.hgcompat import Delta

NODES = st.binary(min_size=20, max_size=20)
ENTRIES = st.builds(Delta, NODES, NODES, NODES, NODES, NODES, st.just(0), st.binary(max_size=40))
NAMES = st.text('abc', min_size=1, max_size=3).map(str.encode)
END = bytes(4)
quickly = settings(max_examples=50, deadline=None)


def _unique(entries: list[Delta]) -> list[Delta]:
    return list({entry.node: entry for entry in entries}.values())


GROUPS = st.lists(ENTRIES, max_size=4).map(_unique)
#: Changesets, manifests, and entries by file.
CONTENTS = st.tuples(GROUPS, GROUPS, st.dictionaries(NAMES, GROUPS, max_size=3))


def framed(header: bytes, delta: bytes) -> bytes:
    return struct.pack('>l', 4 + len(header) + len(delta)) + header + delta


def packed(contents, version: bytes = b'02', flags: int = 0) -> bytes:
    """A changegroup, by ``hg help internals.changegroups``."""
    changesets, manifests, files = contents

    def group(entries: list[Delta]) -> bytes:
        found = b''
        for one in entries:
            header = one.node + one.p1 + one.p2
            header += b'' if version == b'01' else one.base
            header += one.link
            header += struct.pack('>H', flags) if version == b'03' else b''
            found += framed(header, one.delta)
        return found + END

    trees = END if version == b'03' else b''
    named = b''.join(framed(b'', name) + group(files[name]) for name in files)
    return group(changesets) + group(manifests) + trees + named + END


def unpacked(data: bytes):
    """The contents of a changegroup 02."""
    unpacker = changegroups.unpack(io.BytesIO(data), b'02')
    unpacker.changelogheader()
    changesets = list(hgcompat.deltas(unpacker))
    unpacker.manifestheader()
    manifests = list(hgcompat.deltas(unpacker))
    files = {n: list(hgcompat.deltas(unpacker)) for n in changegroups.file_groups(unpacker)}
    return changesets, manifests, files


def normalized(data: bytes, version: bytes) -> tuple[bytes, list[Delta]]:
    entries: list[Delta] = []
    return b''.join(changegroups.normalized(io.BytesIO(data), version, entries)), entries


def with_implied_bases(entries: list[Delta]) -> list[Delta]:
    """As version 01 has them: the entry before, and first the first parent."""
    bases = [entries[0].p1, *(one.node for one in entries)] if entries else []
    return [one._replace(base=base) for one, base in zip(entries, bases)]


@pytest.mark.parametrize('version', changegroups.READABLE)
@quickly
@given(contents=CONTENTS)
def test_normalized(version, contents):
    changesets, manifests, files = contents
    found, entries = normalized(packed(contents, version), version)
    if version == b'01':
        changesets, manifests = map(with_implied_bases, (changesets, manifests))
        files = {name: with_implied_bases(group) for name, group in files.items()}
    assert unpacked(found) == (changesets, manifests, files)
    assert entries == [one._replace(delta=b'') for one in changesets]
    assert found == packed((changesets, manifests, files))


@pytest.mark.parametrize('version', changegroups.READABLE)
@quickly
@given(contents=CONTENTS, draw=st.data())
def test_cut_off(version, contents, draw):
    data = packed(contents, version)
    with pytest.raises(Refused, match='ends early'):
        normalized(data[: draw.draw(st.integers(0, len(data) - 1))], version)


@quickly
@given(CONTENTS, st.integers(1, 65535))
def test_flags(contents, flags):
    changesets, manifests, files = contents
    if any([changesets, manifests, *files.values()]):
        with pytest.raises(Refused, match='revisions with flags'):
            normalized(packed(contents, b'03', flags), b'03')


def test_tree_manifests():
    with pytest.raises(Refused, match='tree manifests'):
        normalized(END + END + framed(b'', b'dir/') + END + END + END, b'03')


@pytest.mark.parametrize('version', [b'00', b'04', b'', b'\x1b[2J'])
def test_other_versions(version):
    with pytest.raises(Refused, match='is not supported') as caught:
        normalized(packed(([], [], {})), version)
    assert '\x1b' not in str(caught.value)


def test_large_entry(monkeypatch):
    """Refused by its length, before it is read."""
    monkeypatch.setattr(changegroups, 'MAX_ENTRY', 1000)
    normalized(framed(bytes(100), bytes(900)) + END + END + END, b'02')
    with pytest.raises(Refused, match='has 1001 bytes, more than 1000'):
        normalized(struct.pack('>l', 4 + 100 + 1001) + bytes(100), b'02')


@pytest.mark.parametrize(
    'name',
    ['', '.', '..', '../a', 'a/../b', '/a', 'a//b', 'a/', './a', '.hg/hgrc', 'A/.HG/x',
     'a\0b', 'a\nb', 'a\rb', 'x/.hg'],
)  # fmt: skip
def test_names_that_are_not_allowed(name):
    with pytest.raises(Refused, match='is not allowed'):
        changegroups.check_file_name(name.encode())


@pytest.mark.parametrize('name', ['a', 'a/b', '.hgignore', 'hg', 'a b', '..a', 'a..', 'caf\udce9'])
def test_names_that_are_allowed(name):
    changegroups.check_file_name(name.encode('utf-8', 'surrogateescape'))


@quickly
@given(st.lists(CONTENTS, min_size=1, max_size=4))
def test_spliced(layers):
    """What is in any layer, once, where it comes first; files by name."""
    opened = [changegroups.unpack(io.BytesIO(packed(one)), b'02') for one in layers]
    spliced = b''.join(changegroups.spliced(opened))

    def merged(groups: list[list[Delta]]) -> list[Delta]:
        found: dict[bytes, Delta] = {}
        for one in (entry for group in groups for entry in group):
            found.setdefault(one.node, one)
        return list(found.values())

    names = sorted({name for *_rest, files in layers for name in files})
    expected = (
        merged([changesets for changesets, _manifests, _files in layers]),
        merged([manifests for _changesets, manifests, _files in layers]),
        {name: merged([files.get(name, []) for *_rest, files in layers]) for name in names},
    )
    assert spliced == packed(expected)


@quickly
@given(CONTENTS)
def test_the_same_layer_twice(contents):
    data = packed(contents)
    opened = [changegroups.unpack(io.BytesIO(data), b'02') for _time in range(2)]
    once = [changegroups.unpack(io.BytesIO(data), b'02')]
    assert list(changegroups.spliced(opened)) == list(changegroups.spliced(once))


def test_our_frames_are_those_of_mercurial():
    assert framed(b'', b'name') == changegroup.chunkheader(4) + b'name'
