"""Work that is shared among processes: all results arrive, and so does what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from mercurial import ui as uimod

from hgext_headless.admin import parallel
from hgext_headless.errors import Corrupt


def test_number_of_processes() -> None:
    ui = uimod.ui.load()
    ui.setconfig(b'worker', b'numcpus', b'3')
    assert parallel.processes(ui) == 3
    ui.setconfig(b'worker', b'enabled', b'no')
    assert parallel.processes(ui) == 1


@pytest.mark.parametrize('count', [1, 4])
def test_all_results(count) -> None:
    def square(number: int) -> tuple[int, int]:
        return os.getpid(), number * number

    found = list(parallel.shared(count, square, range(50)))
    assert [square for _pid, square in found] == [n * n for n in range(50)]
    assert (os.getpid() in {pid for pid, _square in found}) is (count == 1)


@pytest.mark.parametrize('count', [1, 4])
@pytest.mark.parametrize(
    'raised',
    [Corrupt('draft 12 is damaged'), OSError(28, 'No space left on device'), KeyError('x')],
)
def test_errors_arrive(count, raised, capfd) -> None:
    def fail(number: int) -> int:
        if number == 30:
            raise raised
        return number

    with pytest.raises(type(raised)) as caught:
        list(parallel.shared(count, fail, range(50)))
    assert caught.value.args == raised.args
    assert capfd.readouterr().err == ''


def test_results_do_not_pile_up(tmp_path) -> None:
    """What is not used yet may be a file of its size."""

    def make(number: int) -> int:
        (tmp_path / str(number)).touch()
        return number

    results = parallel.shared(2, make, range(100))
    next(results)
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) < 10
    assert len(list(results)) == 99


_SIGNALLED = """
import contextlib, os, signal, sys, time
from hgext_headless.admin import parallel
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
def work(item):
    time.sleep(0.05)
    return os.getpid(), b'x' * int(sys.argv[2])
try:
    for pid, _data in parallel.shared(4, work, range(400)):
        with contextlib.suppress(ProcessLookupError):  # it had sent two results
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


_LONG = """
import os, signal, sys, time
from hgext_headless.admin import parallel
signal.signal(signal.SIGINT, signal.default_int_handler)
def work(item):
    if item:
        time.sleep(100)
    return os.getpid()
for pid in parallel.shared(3, work, range(20)):
    print(pid, flush=True)
"""


def is_running(pid: int) -> bool:
    """Also false for a process that is dead, and for which nobody has waited."""
    try:
        with open(f'/proc/{pid}/stat') as stat:
            return stat.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.exists('/proc/self/stat'), reason='reads /proc')
@pytest.mark.parametrize('name', ['SIGKILL', 'SIGINT'])
def test_nothing_is_left(name) -> None:
    """One is killed for good, or a terminal's Ctrl-C reaches all."""
    command = [sys.executable, '-c', _LONG]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        worker = int(running.stdout.readline())
        assert is_running(worker)
        if name == 'SIGKILL':
            running.kill()
        else:
            os.killpg(running.pid, signal.SIGINT)
        until = time.monotonic() + 20
        while is_running(worker):
            assert time.monotonic() < until
            time.sleep(0.1)


_BLOCKED = """
import signal, sys, time
from mercurial import error
from hgext_headless.admin import parallel
def catch_term(*args):  # as hg does
    raise error.SignalInterrupt
signal.signal(signal.SIGTERM, catch_term)
def work(item):
    return b'x' * 100_000
try:
    for _data in parallel.shared(4, work, range(100_000)):
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
