"""Notes of pushes that may not be recorded."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from hgext_headless.replication import unrecorded


@pytest.fixture
def repo(tmp_path):
    """A repository that a group shares, as Mercurial's store knows from its own mode."""
    folder = os.fsencode(tmp_path)
    svfs = SimpleNamespace(join=lambda name: os.path.join(folder, name))
    return SimpleNamespace(svfs=svfs, store=SimpleNamespace(createmode=0o775))


def notes(tmp_path) -> list[str]:
    return sorted(os.listdir(tmp_path / 'headless-unrecorded'))


def test_group_may_write(repo, tmp_path):
    """Another member of the group pushes next, whatever the umask of the first one."""
    before = os.umask(0o077)
    try:
        with unrecorded.noted(repo, [b'a' * 20], 'alice'):
            assert len(notes(tmp_path)) == 1
    finally:
        os.umask(before)
    assert (tmp_path / 'headless-unrecorded').stat().st_mode & 0o777 == 0o775
    assert notes(tmp_path) == []


def test_push_that_fails(repo, tmp_path):
    with pytest.raises(KeyboardInterrupt), unrecorded.noted(repo, [b'a' * 20], 'alice'):
        raise KeyboardInterrupt
    [note] = notes(tmp_path)
    assert note.endswith('.failed')


def test_drafts_alone(repo, tmp_path):
    with unrecorded.noted(repo, [], 'alice'):
        assert not os.listdir(tmp_path)
