"""The cache of objects: what was used last stays, and what is handed out is the object."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from hgext_headless import store as stores
from hgext_headless.errors import Corrupt
from hgext_headless.store.cache import Cached

CONTENTS = [bytes([65 + number]) * (10 * number + 10) for number in range(6)]
LIMIT = 100


def key_of(content: bytes) -> str:
    return stores.key('try', hashlib.sha256(content).hexdigest())


class Store:
    """What it has, and how often it was asked."""

    def __init__(self) -> None:
        self.objects = {key_of(content): content for content in CONTENTS}
        self.asked: list[str] = []

    def get(self, key: str, path: str) -> None:
        self.asked.append(key)
        if key not in self.objects:
            raise Corrupt(f'the store has no object {key}')
        Path(path).write_bytes(self.objects[key])


class Used:
    """A cache over a folder, used at times that are a second apart."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder = folder / 'cache'
        self.out = folder / 'out'
        self.store = Store()
        self.cached = Cached(self.store, str(self.folder), limit)
        self.now = 0

    def get(self, content: bytes) -> bytes:
        self.cached.get(key_of(content), str(self.out))
        self.now += 1
        entry = self.entry(content)
        if entry.exists():
            os.utime(entry, (self.now, self.now))
        return self.out.read_bytes()

    def entry(self, content: bytes) -> Path:
        return self.folder / stores.digest(key_of(content))


def test_what_others_put_there(tmp_path):
    """Neither a link to a file of this user is followed, nor a pipe waited for."""
    used = Used(tmp_path)
    used.get(CONTENTS[0])
    copy = tmp_path / 'copy'
    copy.write_bytes(CONTENTS[0])
    entry = used.entry(CONTENTS[0])
    for put in (lambda: entry.symlink_to(copy), lambda: os.mkfifo(entry)):
        entry.unlink()
        put()
        used.store.asked.clear()
        used.cached.get(key_of(CONTENTS[0]), str(used.out))
        assert used.store.asked == [key_of(CONTENTS[0])]
        assert used.out.read_bytes() == CONTENTS[0]
        assert entry.is_file() and not entry.is_symlink()


@pytest.mark.parametrize('size', [10, 1 << 40])
def test_what_another_user_wrote(tmp_path, size):
    """It is not handed out; one without an end does not fill the disk, either."""
    used = Used(tmp_path)
    used.get(CONTENTS[0])
    entry = used.entry(CONTENTS[0])
    entry.write_bytes(b'another')
    os.truncate(entry, size)
    entry.chmod(0o644)
    if not os.geteuid():
        os.chown(entry, 65534, 65534)
    assert used.get(CONTENTS[0]) == CONTENTS[0]
    assert len(used.store.asked) == 2
    assert entry.stat().st_uid == os.geteuid() and entry.read_bytes() == CONTENTS[0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(CONTENTS), max_size=25))
def test_what_was_used_last_stays(wanted):
    with tempfile.TemporaryDirectory() as folder:
        used = Used(Path(folder))
        kept: list[bytes] = []  # the last used last
        for content in wanted:
            asked = [] if content in kept else [key_of(content)]
            used.store.asked.clear()
            assert used.get(content) == content
            assert used.store.asked == asked
            kept = [*(one for one in kept if one != content), content]
            while sum(map(len, kept)) > LIMIT:
                kept.pop(0)
            assert {path.name for path in used.folder.iterdir()} == {
                stores.digest(key_of(one)) for one in kept
            }


def test_an_object_that_is_larger_than_the_cache(tmp_path):
    used = Used(tmp_path, limit=5)
    assert used.get(CONTENTS[0]) == used.get(CONTENTS[0]) == CONTENTS[0]
    assert len(used.store.asked) == 2
    assert not used.folder.exists()


@pytest.mark.parametrize('damage', [b'', b'B' * 10, b'A' * 9, b'A' * 11])
def test_a_spoiled_entry(tmp_path, damage):
    used = Used(tmp_path)
    used.get(CONTENTS[0])
    used.entry(CONTENTS[0]).write_bytes(damage)
    assert used.get(CONTENTS[0]) == CONTENTS[0]
    assert len(used.store.asked) == 2
    assert used.entry(CONTENTS[0]).read_bytes() == CONTENTS[0]


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / 'cache').write_text('a file')
    used = Used(tmp_path)
    assert used.get(CONTENTS[0]) == CONTENTS[0]


def test_forgotten(tmp_path):
    used = Used(tmp_path)
    used.get(CONTENTS[0])
    used.cached.forget(key_of(CONTENTS[0]))
    used.cached.forget(key_of(CONTENTS[0]))  # which is no error
    assert list(used.folder.iterdir()) == []


def test_collected(tmp_path):
    """What is old and not live; and what a writer that died has left."""
    used = Used(tmp_path)
    assert used.cached.collect(lambda digests: set(), 10.0) == (0, None)  # no folder yet
    for content in CONTENTS[:3]:
        used.get(content)
    abandoned, young = used.folder / '.tmp-old', used.folder / '.tmp-young'
    for path in (abandoned, young):
        path.write_bytes(b'x')
    os.utime(abandoned, (1, 1))
    live = stores.digest(key_of(CONTENTS[0]))

    def is_live(digests: list[str]) -> set[str]:
        assert set(digests) == {stores.digest(key_of(one)) for one in CONTENTS[:2]}
        return {live}

    assert used.cached.collect(is_live, 2.5) == (2, None)
    assert {path.name for path in used.folder.iterdir()} == {
        live, young.name, stores.digest(key_of(CONTENTS[2]))
    }  # fmt: skip


def test_collected_but_for_what_cannot_be(tmp_path):
    """A folder, which not even root can unlink, stands for a file that this user may not."""
    used = Used(tmp_path)
    for content in CONTENTS[:3]:
        used.get(content)
    stays = used.entry(CONTENTS[1])
    stays.unlink()
    stays.mkdir()
    os.utime(stays, (1, 1))
    removed, failure = used.cached.collect(lambda digests: set(), 10.0)
    assert removed == 2 and failure is not None
    assert list(used.folder.iterdir()) == [stays]


def test_what_is_abandoned_goes_with_the_next_entry(tmp_path):
    used = Used(tmp_path)
    used.folder.mkdir()
    abandoned, young = used.folder / '.tmp-old', used.folder / '.tmp-young'
    for path in (abandoned, young):
        path.write_bytes(b'x')
    os.utime(abandoned, (1, 1))
    used.get(CONTENTS[0])
    assert not abandoned.exists() and young.exists()
