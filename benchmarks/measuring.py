"""What an hg client and its server use: time, processor, memory, bytes.

A client's processor time is its own alone: see `fakessh`. A server over http lives on, so
its part is the difference of its clock, and its peak is reset before (the kernel's
``clear_refs``); over ssh it is a process for each connection, and these are added up.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from counting import proxy
from helpers.world import HG, Server, World

#: Seconds in which a server may still tidy up after the client has gone.
_TIDYING = 0.05


class Used(NamedTuple):
    """Seconds, megabytes, bytes; zero where it was not counted."""

    wall: float
    client_cpu: float
    server_cpu: float
    server_memory: float
    bytes_up: int
    bytes_down: int
    server_share: float = 0


def cpu(pid: int) -> float:
    """Seconds of processor that a process and its threads have used: the POSIX clock of a
    process, which is finer than the ticks in /proc."""
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int, what: str = 'VmHWM') -> float:
    """The peak, or ``VmRSS`` now, in MB."""
    found = re.search(rf'{what}:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())
    assert found
    return int(found.group(1)) / 1024


def reset_peak(pid: int) -> None:
    Path(f'/proc/{pid}/clear_refs').write_text('5')


def stand_in_for_ssh(world: World, remotecmd: str = HG, rtt: int = 0) -> None:
    """Have the clients of a world use `fakessh`, for `client` to read its reports.

    ``remotecmd`` is the ``hg`` that it starts, ``rtt`` the milliseconds of a round trip.
    """
    script = Path(__file__).parent / 'fakessh.py'
    shim = world.folder / 'fakessh'
    # A job in the background would get /dev/null for its input.
    shim.write_text(
        '#!/bin/sh\nexec 3<&0\n'
        f'{sys.executable} -I -S {script} "$@" <&3 3<&- &\n'
    )
    shim.chmod(0o755)
    with open(world.env['HGRCPATH'], 'a') as hgrc:
        hgrc.write(f'[ui]\nssh = {shim}\nremotecmd = {remotecmd}\n')
    options = f'\n{rtt}' if rtt else ''
    world.env['BENCHMARK_SSH'] = tempfile.mkdtemp(dir=world.folder) + options


def run_hg(args: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> tuple[float, float]:
    """Run hg, which must succeed; its wall time and its own processor time."""
    with tempfile.TemporaryFile() as out:
        started = time.perf_counter()
        process = subprocess.Popen([HG, *args], cwd=cwd, env=env, stdout=out, stderr=out)
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            out.seek(0)
            raise SystemExit(f'hg {" ".join(args)}: {process.returncode}\n{out.read().decode()}')
    return wall, usage.ru_utime + usage.ru_stime


Runner = Callable[[tuple[str, ...], Path, Mapping[str, str]], tuple[float, float]]


def client(
    server: Server, transport: str, args: tuple[str, ...], cwd: Path, count: bool = False
) -> Used:
    """Run ``hg ARGS``, in which ``URL`` stands for the server's.

    ``count`` has the bytes counted, which disturbs the rest.
    """
    return (_over_http if transport == 'http' else over_ssh)(server, args, cwd, count)


def _over_http(server: Server, args: tuple[str, ...], cwd: Path, count: bool) -> Used:
    url = server.start()
    if count:
        with proxy(url) as between:
            run_hg(_filled(args, between.url), cwd, server.world.env)
        return Used(0, 0, 0, 0, *between.counts)
    pid = server.pid
    reset_peak(pid)
    before = cpu(pid)
    wall, used = run_hg(_filled(args, url), cwd, server.world.env)
    time.sleep(_TIDYING)
    return Used(wall, used, cpu(pid) - before, memory(pid), 0, 0)


def over_ssh(
    server: Server, args: tuple[str, ...], cwd: Path, count: bool, run: Runner = run_hg
) -> Used:
    """As `client`; ``run`` starts hg in place of `run_hg`."""
    with tempfile.TemporaryDirectory(dir=server.world.folder) as folder:
        _folder, *options = server.world.env['BENCHMARK_SSH'].split('\n')
        if count:
            options.append('count')
        env = {**server.world.env, 'BENCHMARK_SSH': '\n'.join([folder, *options])}
        wall, used = run(_filled(args, server.url('ssh')), cwd, env)
        reports = _reports(Path(folder))
    server_cpu, peaks, up, down, shares = zip(*reports)
    sizes = int(sum(up)), int(sum(down))
    return Used(wall, used, sum(server_cpu), max(peaks), *sizes, max(shares))


def _filled(args: tuple[str, ...], url: str) -> tuple[str, ...]:
    return tuple(url if arg == 'URL' else arg for arg in args)


def _reports(folder: Path) -> list[list[float]]:
    """A connection's processor, peak and bytes; written when its server has ended."""
    deadline = time.monotonic() + 30
    while True:
        time.sleep(_TIDYING)
        found = list(folder.iterdir())
        if found and all(path.suffix == '.done' for path in found):
            return [[float(word) for word in path.read_text().split()] for path in found]
        assert time.monotonic() < deadline, 'the server of an ssh connection does not end'
