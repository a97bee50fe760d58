"""The lines that a delta changes in a manifest: as if both had been compared."""

from __future__ import annotations

import struct

from hypothesis import given, settings, strategies as st
from mercurial import manifest, mdiff

from hgext_headless.bundles import manifests

FILES = st.dictionaries(
    st.text('ab/', min_size=1, max_size=3).map(str.encode),
    st.tuples(st.sampled_from([b'1', b'2']), st.sampled_from([b'', b'x'])),
    max_size=6,
)
thoroughly = settings(max_examples=200, deadline=None)


def text(files) -> bytes:
    return b''.join(
        b'%s\0%s%s\n' % (name, digit * 40, flag) for name, (digit, flag) in sorted(files.items())
    )


def parsed(lines: bytes) -> manifest.manifestdict:
    return manifest.manifestdict(20, lines)


@thoroughly
@given(FILES, FILES)
def test_delta_of_a_client(before, after):
    before, after = text(before), text(after)
    lines = manifests.changed_lines(before, mdiff.textdiff(before, after))
    assert lines is not None
    assert compared(*lines) == parsed(before).diff(parsed(after))


@thoroughly
@given(st.data())
def test_any_delta(data):
    """It is taken at its word only if whole lines in order come of it."""
    before = text(data.draw(FILES))
    cuts = data.draw(st.lists(st.integers(0, len(before)), max_size=6).map(sorted))
    lines = st.sampled_from(text({b'a': (b'1', b''), b'b/': (b'2', b'x')}).splitlines(True))
    delta = b''
    for start, end in zip(cuts[::2], cuts[1::2]):
        new = b''.join(data.draw(st.lists(lines | st.binary(max_size=3), max_size=2)))
        delta += struct.pack('>lll', start, end, len(new)) + new
    check(before, bytes(mdiff.patches(before, [delta])), delta)


def test_from_the_middle_of_a_line_to_that_of_the_next():
    """What remains is a line again."""
    before = text({b'a': (b'1', b''), b'b': (b'1', b'')})
    delta = struct.pack('>lll', 20, 20 + len(before) // 2, 0)
    after = bytes(mdiff.patches(before, [delta]))
    assert compared(before, after) and check(before, after, delta) is None


@thoroughly
@given(FILES, st.data())
def test_whole_lines_in_any_order(files, data):
    lines = text(files).splitlines(True)
    start = data.draw(st.integers(0, len(lines)))
    end = data.draw(st.integers(start, len(lines)))
    new = data.draw(FILES.map(lambda some: text(some).splitlines(True)).flatmap(st.permutations))
    at = [sum(map(len, lines[:n])) for n in (start, end)]
    delta = struct.pack('>lll', *at, sum(map(len, new))) + b''.join(new)
    after = b''.join([*lines[:start], *new, *lines[end:]])
    assert check(text(files), after, delta) is not None or compared(text(files), after) is None


def check(before: bytes, after: bytes, delta: bytes) -> tuple[bytes, bytes] | None:
    """What is said of the lines has to be what is said of the whole."""
    lines = manifests.changed_lines(before, delta)
    if lines is not None:
        assert compared(*lines) == compared(before, after)
    return lines


def compared(old: bytes, new: bytes) -> dict | None:
    """None if a manifest is malformed."""
    try:
        return parsed(old).diff(parsed(new))
    except (ValueError, MemoryError, SystemError):
        return None
