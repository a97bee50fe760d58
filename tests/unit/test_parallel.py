"""Work that is shared among processes: all results arrive, and so does what goes wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest
from mercurial import ui as uimod

from hgext_headless.admin import parallel
from hgext_headless.errors import Corrupt, HeadlessError


@pytest.mark.parametrize('forked', [True, False])
def test_all_results(forked) -> None:
    def squares(share: Sequence[int]) -> Iterator[tuple[int, int]]:
        return ((os.getpid(), n * n) for n in share)

    found = list(parallel.shared(uimod.ui.load(), 100.0 * forked, squares, range(50)))
    assert sorted(square for _pid, square in found) == [n * n for n in range(50)]
    assert (os.getpid() in {pid for pid, _square in found}) is not forked


@pytest.mark.parametrize('forked', [True, False])
@pytest.mark.parametrize(
    ('raised', 'arrives'),
    [
        (Corrupt('draft 12 is damaged'), Corrupt),
        (OSError(28, 'No space left on device'), OSError),
        (KeyError('x'), RuntimeError),
    ],
)
def test_errors_arrive(forked, raised, arrives, capfd) -> None:
    def fails(share: Sequence[int]) -> Iterator[int]:
        for number in share:
            if number == 30:
                raise raised
            yield number

    with pytest.raises(arrives) as caught:
        list(parallel.shared(uimod.ui.load(), 100.0 * forked, fails, range(50)))
    if isinstance(raised, (HeadlessError, OSError)):
        assert caught.value.args == raised.args
    assert capfd.readouterr().err == ''
