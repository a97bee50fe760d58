"""Work that is shared among processes: all results arrive, and so does what goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
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


_SIGNALLED = """
import os, signal, sys, time
from mercurial import ui as uimod
from hgext_headless.admin import parallel
def work(share):
    for item in share:
        yield os.getpid(), b'x' * int(sys.argv[2])
        time.sleep(0.05)
try:
    for pid, _data in parallel.shared(uimod.ui.load(), 100.0, work, range(400)):
        os.kill(os.getpid() if sys.argv[1] == 'SIGINT' else pid, signal.Signals[sys.argv[1]])
except BaseException as exc:
    print(type(exc).__name__, exc)
"""


@pytest.mark.parametrize('size', [1, 1_000_000])  # that does not fit in a pipe
@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('SIGKILL', 'Temporary a process that shared the work has ended, or was killed'),
        ('SIGTERM', 'Temporary a process that shared the work has ended, or was killed'),
        ('SIGINT', 'KeyboardInterrupt'),  # also where the others do not get it
    ],
)
def test_signals(name, said, size) -> None:
    """If a process is killed, the others end, and there is a word of it."""
    command = [sys.executable, '-c', _SIGNALLED, name, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, said, '')


_BLOCKED = """
import signal, sys, time
from mercurial import error, ui as uimod
from hgext_headless.admin import parallel
def catch_term(*args):  # as hg does
    raise error.SignalInterrupt
signal.signal(signal.SIGTERM, catch_term)
def work(share):
    return (b'x' * 100 for item in share)
try:
    for _data in parallel.shared(uimod.ui.load(), 100.0, work, range(100_000)):
        time.sleep(1)
        raise OSError('the caller fails')
except OSError as exc:
    print(exc)
"""


def test_the_caller_fails_while_others_wait_for_it() -> None:
    """They have filled their pipes, and end nevertheless."""
    command = [sys.executable, '-c', _BLOCKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'the caller fails\n', '')
