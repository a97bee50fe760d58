"""``headless-quickstart DIR``: serve a new headless repository on localhost, to try it."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys

_HGRC = """\
[extensions]
hgext_headless.push =
hgext_headless.push:required = yes
hgext_headless.web =
hgext_headless.web:required = yes
[headless]
repository = {name}
{shared}[web]
name = {name}
allow-push = *
push_ssl = no
"""

#: What two repositories have in common, in the folder of both.
_SHARED = """\
database = sqlite:///{folder}/catalog.sqlite
store = file://{folder}/store
link-secret = {secret}
"""

_SECOND = """
Another repository, in the same database and store, is at {url}.
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

The draft is not in the server's own log, and the other clone has it all the same.
"""


def _hg() -> str:
    """Return the path of the hg in the environment of this Python."""
    beside = os.path.join(os.path.dirname(sys.executable), 'hg')
    found = beside if os.path.exists(beside) else shutil.which('hg')
    if found is None:
        raise SystemExit('headless-quickstart: there is no hg')
    return found


def make(hg: str, server: str, name: str, shared: str = '') -> None:
    """Create a repository with some public history and both extensions.

    ``shared`` are further settings, those that it shares with another one.
    """

    def run(*args: str) -> None:
        subprocess.run([hg, *args], check=True, env={**os.environ, 'HGRCPATH': ''})

    run('init', server)
    for number in range(1, 4):
        with open(os.path.join(server, 'history.txt'), 'a', encoding='utf-8') as file:
            file.write(f'line {number}\n')
        run('-R', server, 'commit', '-q', '-A', '-u', 'quickstart', '-m', f'public {number}')
    run('-R', server, 'phase', '--public', '-r', 'tip')
    with open(os.path.join(server, '.hg', 'hgrc'), 'w', encoding='utf-8') as file:
        file.write(_HGRC.format(name=name, shared=shared))
    run('-R', server, 'admin::headless-init', '-q')


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', wanted or 0))
        port: int = probe.getsockname()[1]
        return port


def main(argv: list[str] | None = None) -> int:
    """The console script. It serves until it is interrupted or terminated."""
    try:
        return _main(argv)
    except KeyboardInterrupt:  # while it makes the repositories
        return 130


def _main(argv: list[str] | None) -> int:
    parser = argparse.ArgumentParser(prog='headless-quickstart', description=__doc__)
    parser.add_argument('folder', metavar='DIR', help='a folder to make')
    parser.add_argument(
        '--two', action='store_true', help='make two repositories, in one database and store'
    )
    parser.add_argument('--port', type=int, help='port on localhost (default: a free one)')
    args = parser.parse_args(argv)
    try:
        if os.path.exists(args.folder) and os.listdir(args.folder):
            parser.error(f'{args.folder} exists and is not empty')
    except OSError as error:
        parser.error(f'{args.folder}: {error.strerror}')
    try:
        port = _free_port(args.port)
    except OSError as error:
        parser.error(f'port {args.port}: {error.strerror}')
    hg = _hg()
    try:
        os.makedirs(args.folder, exist_ok=True)
    except OSError as error:
        parser.error(f'{args.folder}: {error.strerror}')
    server = os.path.join(args.folder, 'server')
    url = f'http://127.0.0.1:{port}/'
    second = ''
    if args.two:
        folder = os.path.abspath(args.folder)
        shared = _SHARED.format(folder=folder, secret=secrets.token_hex(16))
        make(hg, server, 'quickstart', shared)
        make(hg, os.path.join(args.folder, 'server2'), 'second', shared)
        with open(os.path.join(folder, 'web.conf'), 'w', encoding='utf-8') as file:
            file.write(f'[paths]\nquickstart = {folder}/server\nsecond = {folder}/server2\n')
        served = ['--web-conf', os.path.join(folder, 'web.conf')]
        second = _SECOND.format(url=f'{url}second')
        url += 'quickstart'
    else:
        make(hg, server, 'quickstart')
        served = ['-R', server]
    welcome = _WELCOME.format(
        hg=hg,
        url=url,
        server=server,
        work=os.path.join(args.folder, 'work'),
        other=os.path.join(args.folder, 'other'),
    )
    welcome += second
    print(welcome, flush=True)
    process = subprocess.Popen(
        [hg, 'serve', *served, '-a', '127.0.0.1', '-p', str(port)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, 'HGRCPATH': ''},
    )
    stopped = False

    def stop(*_: object) -> None:
        # An exception at the second of two signals could leave Popen's lock taken for good.
        nonlocal stopped
        stopped = True
        process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    code = process.wait()
    return 0 if stopped else code


if __name__ == '__main__':
    sys.exit(main())
