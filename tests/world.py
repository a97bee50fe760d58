"""Stock hg processes, and headless servers for them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from cmdserver import CommandServer

from hgext_headless import requirement

HG = os.path.join(os.path.dirname(sys.executable), 'hg')
#: Commands that speak to no server.
AT_HOME = (
    'add', 'bookmark', 'bookmarks', 'branch', 'commit', 'cp', 'export', 'graft', 'log',
    'merge', 'mv', 'phase', 'rm', 'update', 'verify',
)
TRANSPORTS = ('path', 'http', 'ssh')


def free_url() -> tuple[str, int]:
    """A URL on a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port: int = probe.getsockname()[1]
    return f'http://127.0.0.1:{port}/', port


class Result(str):
    """What hg printed, standard error included; ``code`` is its exit code."""

    code: int


def _checked(args: object, expected: int | None, code: int, output: bytes) -> Result:
    result = Result(output.decode('utf-8', 'replace'))
    result.code = code
    assert expected is None or code == expected, f'hg {args}: {code}\n{result}'
    assert 'Traceback' not in result, result
    return result


class World:
    """A folder, a configuration of stock hg in it, and what runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._home: CommandServer | None = None
        self._home_state: tuple[object, ...] = ()
        ssh = folder / 'ssh'
        ssh.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
        ssh.chmod(0o755)
        hgrc = folder / 'hgrc'
        hgrc.write_text(
            f'[ui]\nusername = Test <test@example.com>\nssh = {ssh}\nremotecmd = {HG}\n'
            'interactive = no\n'
        )
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(('HG', 'PYTEST'))},
            'HGRCPATH': str(hgrc),
            'HGPLAIN': '',
            'USER': 'alice',
            'TZ': 'UTC',
            'LC_ALL': 'C.UTF-8',
            # boto3 needs no configuration file of whoever runs the tests.
            'AWS_CONFIG_FILE': '/dev/null',
            'AWS_SHARED_CREDENTIALS_FILE': '/dev/null',
            'AWS_EC2_METADATA_DISABLED': 'true',
        }

    def hg(
        self,
        *args: str | bytes | Path,
        cwd: Path | None = None,
        code: int | None = 0,
        env: Mapping[str, str] = {},
        timeout: float = 180,
    ) -> Result:
        """Run stock hg; fail unless it exits with ``code`` (None: whatever it is)."""
        done = subprocess.run(
            [HG, *args],
            cwd=cwd or self.folder,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )
        return _checked(args, code, done.returncode, done.stdout)

    def hg_at_home(
        self, *args: str | bytes | Path, cwd: Path, code: int | None = 0
    ) -> Result:
        """As `hg`, for a command that speaks to no server: by a command server."""
        hgrc = os.stat(self.env['HGRCPATH'])
        state = (hgrc.st_mtime_ns, hgrc.st_size, *self.env.items())
        if self._home is None or self._home_state != state:
            self.stop()
            self._home, self._home_state = CommandServer(HG, self.folder, self.env), state
        return _checked(args, code, *self._home.run(args, cwd))

    def stop(self) -> None:
        if self._home is not None:
            self._home.stop()
            self._home = None

    def wait_for(self, url: str) -> None:
        """Wait until somebody listens there."""
        host, port = url.split('/')[2].split(':')
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, f'nobody listens at {url}'
                time.sleep(0.05)

    def clone(self, source: str, name: str, *args: str) -> Clone:
        self.hg('clone', '-q', *args, source, name)
        return Clone(self, self.folder / name)

    def init(self, name: str) -> Clone:
        self.hg('init', name)
        return Clone(self, self.folder / name)


class Clone:
    """A working repository of somebody."""

    def __init__(self, world: World, root: Path) -> None:
        self.world = world
        self.root = root

    def hg(self, *args: str | bytes | Path, **kwargs) -> Result:
        if args[0] in AT_HOME and '--config' not in args and not kwargs.keys() - {'code'}:
            return self.world.hg_at_home(*args, cwd=self.root, **kwargs)
        return self.world.hg(*args, cwd=self.root, **kwargs)

    def commit(self, name: str, content: str | bytes | None = None, *args: str | bytes) -> str:
        """Write a file, commit it with its name as description, return the node."""
        data = (content if content is not None else name) or ''
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        if '-m' not in args and '-l' not in args:
            args = (*args, '-m', name)
        self.hg('commit', '-q', '-A', *args)
        return self.node()

    def node(self, rev: str = '.') -> str:
        return self.hg('log', '-r', rev, '-T', '{node}')

    def log(self, revs: str = 'all()', template: str = '{node} {phase}\n') -> list[str]:
        return self.hg('log', '-r', revs, '-T', template).splitlines()

    def verified(self) -> None:
        self.hg('verify', '-q')

    def facts(self, revs: str) -> str:
        """All that makes a changeset: manifest, patch, extras."""
        template = '{node} {manifest.node}\n{extras}\n{author}\n{date|rfc3339date}\n{desc}\n'
        revs = f'sort({revs}, node)'
        log = self.hg('log', '-r', revs, '--debug', '-T', template)
        return log + self.hg('export', '--git', '-r', revs)


@functools.cache
def _history(public: int) -> Path:
    """A repository with some public history, made once for each process of the tests."""
    folder = Path(tempfile.mkdtemp(prefix='headless-history-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = World(folder).init('made')
    for number in range(public):
        made.commit(f'public{number}')
    if public:
        made.hg('phase', '--public', '-r', 'tip')
        made.hg('update', '-q', 'null')
    return made.root


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def require_headless(root: Path) -> None:
    """Write the requirement, as ``admin::headless-init`` does, in less time."""
    with open(root / '.hg' / 'store' / 'requires', 'ab') as requires:
        requires.write(requirement.NAME + b'\n')


def unrequire(root: Path) -> None:
    """Take the requirement out again: a repository of before."""
    path = root / '.hg' / 'store' / 'requires'
    path.write_bytes(path.read_bytes().replace(requirement.NAME + b'\n', b''))


class Server(Clone):
    """A repository with public history and both extensions."""

    def hg(self, *args: str | bytes | Path, **kwargs) -> Result:
        return self.world.hg(*args, cwd=self.root, **kwargs)

    def __init__(
        self,
        world: World,
        name: str = 'server',
        settings: str = '',
        public: int = 3,
        extensions: tuple[str, ...] = ('push', 'web'),
    ) -> None:
        super().__init__(world, world.folder / name)
        shutil.copytree(_history(public), self.root)
        if extensions:
            require_headless(self.root)
        self._process: str | None = None
        self._pidfiles: list[Path] = []
        self._base = ''.join(
            f'hgext_headless.{e} =\nhgext_headless.{e}:required = yes\n' for e in extensions
        )
        self.extra_env: dict[str, str] = {}
        self.configure(settings)

    def configure(self, settings: str, more: str = '') -> None:
        """Write the hgrc anew; a running server has to be restarted."""
        (self.root / '.hg' / 'hgrc').write_text(
            f'[extensions]\n{self._base}[headless]\nrepository = try\n{settings}\n'
            f'[web]\npush_ssl = no\nallow-push = *\n[devel]\n{more}\n'
        )

    def url(self, transport: str) -> str:
        if transport == 'path':
            return str(self.root)
        if transport == 'ssh':
            return f'ssh://localhost/{self.root}'
        return self.start()

    def start(self) -> str:
        """Serve over http, once; the URL."""
        if self._process is None:
            self._process = self.start_another()
        return self._process

    def start_another(self) -> str:
        """One more process that serves over http; its URL."""
        pidfile = self.root / '.hg' / f'serve{len(self._pidfiles)}.pid'
        out = self.world.hg(
            '-R',
            self.root,
            'serve',
            '-d',
            '-a',
            '127.0.0.1',
            '-p',
            '0',
            '--pid-file',
            pidfile,
            '-A',
            self.root / '.hg' / 'access.log',
            '-E',
            self.root / '.hg' / 'error.log',
            env=self.extra_env,
        )
        found = re.search(r':(\d+)/', out)
        assert found, out
        self._pidfiles.append(pidfile)
        return f'http://127.0.0.1:{found.group(1)}/'

    @property
    def pid(self) -> int:
        """Of the process that was started first."""
        return int(self._pidfiles[0].read_text())

    def stop(self) -> None:
        pids = [int(pidfile.read_text()) for pidfile in self._pidfiles]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while any(map(_runs, pids)) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._process, self._pidfiles = None, []

    def restart(self) -> str:
        self.stop()
        return self.start()

    def configured(self, item: str) -> str:
        """The value of an item of ``[headless]``."""
        return self.hg('config', f'headless.{item}').strip()

    def sql(self, statement: str) -> list[tuple]:
        """Run a statement on the embedded database, behind everybody's back; its rows."""
        with contextlib.closing(
            sqlite3.connect(self.root / '.hg' / 'headless' / 'catalog.sqlite', timeout=30)
        ) as connection:
            rows = connection.execute(statement).fetchall()
            connection.commit()
            return rows

    def errors(self) -> str:
        log = self.root / '.hg' / 'error.log'
        return log.read_text() if log.exists() else ''

    def changesets(self) -> int:
        """How many the repository itself has."""
        return len(self.hg('log', '-T', 'x', '-r', 'all()', '--hidden'))
