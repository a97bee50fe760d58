"""``headless-quickstart DIR``: serve a headless repository on localhost, to try it."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

_HGRC = """\
[extensions]
hgext_headless.push =
hgext_headless.push:required = yes
hgext_headless.web =
hgext_headless.web:required = yes
[headless]
repository = quickstart
link-base = http://127.0.0.1:{port}/
[web]
name = quickstart
address = 127.0.0.1
port = {port}
allow-push = *
push_ssl = no
[diff]
git = yes
"""

_WELCOME = """
A headless repository is at {url} (stop it with Ctrl-C).
Paste these into another terminal, in this folder:

  {hg} clone {url} {work}
  echo draft > {work}/draft.txt
  {hg} -R {work} commit -A -m 'a draft' -u you
  {hg} -R {work} push
  {hg} -R {server} log
  {hg} clone {url} {other}
  {hg} -R {other} pull -r $({hg} -R {work} log -r . -T '{{node}}')
  {hg} -R {other} log -G
  {hg} -R {work} log -r . -T '{url}pushloghtml?changeset={{node}}\\n'

The draft is not in the server's own log, and the other clone has it all the same. The last
command prints the URL of the push.
"""

_AGAIN = """
The headless repository is at {url} again (stop it with Ctrl-C).
Its pushes are at {url}pushloghtml
"""


def _hg() -> str:
    """Return the path of the hg in the environment of this Python."""
    beside = os.path.join(os.path.dirname(sys.executable), 'hg')
    found = beside if os.path.exists(beside) else shutil.which('hg')
    if found is None:
        raise SystemExit('headless-quickstart: there is no hg')
    return found


def _run(hg: str, *args: str) -> str:
    command = [hg, *args]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=_env(), text=True)
    return done.stdout


def _env() -> dict[str, str]:
    return {**os.environ, 'HGRCPATH': ''}


def _make(hg: str, server: str, port: int) -> None:
    """Create a repository with some public history and both extensions."""
    part = f'{server}.part'
    shutil.rmtree(part, ignore_errors=True)  # of a run that was interrupted
    _run(hg, 'init', part)
    for number in range(1, 4):
        with open(os.path.join(part, 'history.txt'), 'a', encoding='utf-8') as file:
            file.write(f'line {number}\n')
        _run(hg, '-R', part, 'commit', '-q', '-A', '-u', 'quickstart', '-m', f'public {number}')
    _run(hg, '-R', part, 'phase', '--public', '-r', 'tip')
    with open(os.path.join(part, '.hg', 'hgrc'), 'w', encoding='utf-8') as file:
        file.write(_HGRC.format(port=port))
    _run(hg, '-R', part, 'admin::headless-init', '-q')
    os.rename(part, server)


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as hg serve does
        probe.bind(('127.0.0.1', wanted or 0))
        return probe.getsockname()[1]


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a server takes connections; return False if it has ended."""
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port)):
            return True
        time.sleep(0.05)
    return False


def main(argv: list[str] | None = None) -> int:
    """The console script. It serves until it is interrupted or terminated."""
    try:
        return _main(argv)
    except KeyboardInterrupt:  # while it makes the repository
        return 130


def _main(argv: list[str] | None) -> int:
    parser = argparse.ArgumentParser(prog='headless-quickstart', description=__doc__)
    parser.add_argument('folder', metavar='DIR', help='a folder to make, or one that this has made')
    parser.add_argument(
        '--port', type=int, help='port on localhost (default: the one it had, or a free one)'
    )
    args = parser.parse_args(argv)
    hg = _hg()
    server = os.path.join(args.folder, 'server')
    port = args.port
    is_new = not os.path.exists(server)
    try:
        there = set(os.listdir(args.folder)) if os.path.exists(args.folder) else set()
        if is_new and there - {'server.part'}:
            parser.error(f'{args.folder} is not empty, and not of an earlier quickstart')
    except OSError as error:
        parser.error(f'{args.folder}: {error.strerror}')
    try:
        if not is_new and port is None:
            port = int(_run(hg, '-R', server, 'config', 'web.port'))
    except (subprocess.CalledProcessError, ValueError):
        parser.error(f'{server} is not of an earlier quickstart')
    try:
        port = _free_port(port)
    except (OSError, OverflowError) as error:
        parser.error(f'port {port}: {getattr(error, "strerror", error)}')
    if is_new:
        try:
            os.makedirs(args.folder, exist_ok=True)
        except OSError as error:
            parser.error(f'{args.folder}: {error.strerror}')
        _make(hg, server, port)
    told = {
        'hg': hg,
        'url': f'http://127.0.0.1:{port}/',
        'server': server,
        'work': os.path.join(args.folder, 'work'),
        'other': os.path.join(args.folder, 'other'),
    }
    process = subprocess.Popen(
        [hg, 'serve', '-R', server, '-p', str(port)], stdout=subprocess.DEVNULL, env=_env()
    )
    stopped = False

    def stop(*_: object) -> None:
        # An exception at the second of two signals could leave Popen's lock taken for good.
        nonlocal stopped
        stopped = True
        process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    if _answers(process, port):
        print((_WELCOME if is_new else _AGAIN).format(**told), flush=True)
    code = process.wait()
    return 0 if stopped else code


if __name__ == '__main__':
    sys.exit(main())
