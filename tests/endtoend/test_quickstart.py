"""``headless-quickstart``: what it prints works, and nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from helpers.web import fetch

#: It starts hg and web servers, and waits for them.
pytestmark = pytest.mark.slow


def test_quickstart(world):
    """The commands that it prints can be pasted, and work; it starts again on what it made."""
    quickstart = os.path.join(os.path.dirname(sys.executable), 'headless-quickstart')
    process = subprocess.Popen(
        [quickstart, 'quick'],
        cwd=world.folder,
        env=world.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith('The draft is not'):
                break
        commands = [line for line in lines if line.startswith('  ')]
        assert len(commands) == 9
        (url,) = set(re.findall(r'http://127\.0\.0\.1:[0-9]+/', ''.join(commands)))
        assert fetch(url)[0] == 200  # from when it is printed on
        done = subprocess.run(
            ['sh', '-ec', ''.join(commands)],
            cwd=world.folder,
            env={**world.env, 'HGRCPATH': '/dev/null'},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done
        assert 'as push 1' in done.stdout
        assert done.stdout.count('a draft') == 1
        page = done.stdout.splitlines()[-1]
        assert page.startswith(f'{url}pushloghtml?changeset=')
        assert b'a draft' in fetch(page)[1]
    finally:
        for _ in range(10):  # "timeout" of coreutils sends two, an impatient user more
            process.terminate()
        assert process.wait(timeout=30) == 0
    # And its server is gone.
    port = int(re.search(r'127\.0\.0\.1:([0-9]+)/', ''.join(lines)).group(1))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', port))
    assert (world.folder / 'quick' / 'server' / '.hg' / 'store' / 'requires').read_text().count(
        'headless\n'
    ) == 1
    (world.folder / 'quick' / 'server').rename(world.folder / 'quick' / 'away')
    (world.folder / 'other' / 'server').mkdir(parents=True)

    def refused(*args: str) -> str:
        done = subprocess.run(
            [quickstart, *args], cwd=world.folder, env=world.env, capture_output=True, text=True
        )
        assert done.returncode == 2 and done.stdout == ''
        return done.stderr

    assert 'quick is not empty, and not of an earlier' in refused('quick')
    assert 'server is not of an earlier quickstart' in refused('other')
    assert 'port 80000: bind(): port must be 0-65535' in refused('new', '--port', '80000')
    assert not (world.folder / 'new').exists()
    (world.folder / 'quick' / 'away').rename(world.folder / 'quick' / 'server')
    assert 'error: port 80000: ' in refused('quick', '--port', '80000')
    with socket.create_server(('127.0.0.1', port)):
        assert f'port {port}: Address already in use' in refused('quick')
    again = subprocess.Popen(
        [quickstart, 'quick'], cwd=world.folder, env=world.env, stdout=subprocess.PIPE, text=True
    )
    try:
        found = (re.search(r'pushes are at (\S+)', line) for line in again.stdout)
        shown = next(filter(None, found)).group(1)
        assert b'a draft' in fetch(shown)[1]
    finally:
        again.terminate()
        again.communicate(timeout=30)


def test_quickstart_that_fails_or_is_interrupted(world) -> None:
    """It says so without a traceback, and its server is gone."""
    quickstart = os.path.join(os.path.dirname(sys.executable), 'headless-quickstart')
    (world.folder / 'file').write_text('')
    for name in ('file', 'file/quick'):
        done = subprocess.run(
            [quickstart, name], cwd=world.folder, env=world.env, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stderr.endswith(f'headless-quickstart: error: {name}: Not a directory\n')

    def started(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [quickstart, name],
            cwd=world.folder,
            env=world.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    early = started('early')
    while not (world.folder / 'early').exists():
        time.sleep(0.01)
    deadline = time.monotonic() + 30
    while early.poll() is None and time.monotonic() < deadline:
        # Ignored until it serves, if it was ignored where the tests were started (with "&").
        early.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            early.wait(1)
    assert early.returncode in (130, 0)  # while it made the repository, or once it served
    assert early.communicate()[1] in ('', 'killed!\n')  # the latter is hg's word at SIGTERM
    process = started('quick')
    next(filter(None, (re.search(r'http://\S+', line) for line in process.stdout)))
    process.send_signal(signal.SIGHUP)  # its terminal is closed
    process.communicate(timeout=30)
    assert process.returncode == 0
