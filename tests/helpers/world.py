"""Stock hg processes, and headless servers for them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy

from helpers.cmdserver import CommandServer
from hgext_headless import requirement

HG = os.path.join(os.path.dirname(sys.executable), 'hg')
#: Kinds of command servers.
STOCK, HEADLESS = 'stock', 'headless'
TRANSPORTS = ('path', 'http', 'ssh')
#: Whether servers over http are below an hgwebdir: the tests in that shape, see CONTRIBUTING.
BELOW_HGWEBDIR = 'HEADLESS_HGWEBDIR' in os.environ


def _loading(extensions: tuple[str, ...]) -> str:
    return ''.join(
        f'hgext_headless.{e} =\nhgext_headless.{e}:required = yes\n' for e in extensions
    )


#: What the hgrc of a server of ours loads.
OURS = _loading(('push', 'web')).splitlines()


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


@functools.cache
def _shared() -> Path:
    """A folder for what all worlds of this process have in common."""
    folder = Path(tempfile.mkdtemp(prefix='headless-shared-'))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ssh = folder / 'ssh'
    ssh.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    ssh.chmod(0o755)
    (folder / 'hgrc').write_text(
        f'[ui]\nusername = Test <test@example.com>\nssh = {ssh}\nremotecmd = {HG}\n'
        'interactive = no\n'
        '[progress]\ndisable = yes\n'  # a slow machine prints no more than a fast one
    )
    return folder


class _Pool:
    """Command servers for worlds whose hgrc is as it was made, by environment and ``kind``:
    some are stock hg, and some load our extensions for repositories of servers."""

    #: What runs at a time.
    LIMIT = 6

    def __init__(self) -> None:
        self._running: dict[tuple[object, ...], CommandServer] = {}
        atexit.register(self.stop_all)

    def get(self, kind: str, env: Mapping[str, str]) -> CommandServer:
        env = {**env, 'HGRCPATH': str(_shared() / 'hgrc')}
        key = (kind, *sorted(env.items()))
        found = self._running.pop(key, None)
        if found is None or found.is_gone:
            found = CommandServer(HG, _shared(), env)
        self._running[key] = found  # the last one is the newest
        while len(self._running) > self.LIMIT:
            self._running.pop(next(iter(self._running))).stop()
        return found

    def stop_all(self) -> None:
        while self._running:
            self._running.popitem()[1].stop()


_pool = _Pool()


class World:
    """A folder, a configuration of stock hg in it, and what runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._home: CommandServer | None = None
        self._home_state: tuple[object, ...] = ()
        hgrc = folder / 'hgrc'
        shutil.copy(_shared() / 'hgrc', hgrc)
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
        """Run hg as a process; fail unless it exits with ``code`` (None: whatever it is)."""
        done = subprocess.run(
            [HG, *args],
            cwd=cwd or self.folder,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )
        return _checked(args, code, done.returncode, done.stdout)

    def hg_fast(
        self, kind: str | None, args: tuple[str | bytes | Path, ...], cwd: Path, code: int | None
    ) -> Result:
        """As `hg`, by a command server of a kind, if there is one that is free."""
        server = self._command_server(kind) if kind else None
        if server is None or server.is_busy:  # another thread is
            return self.hg(*args, cwd=cwd, code=code)
        return _checked(args, code, *server.run(args, cwd))

    def _command_server(self, kind: str) -> CommandServer | None:
        hgrc = Path(self.env['HGRCPATH'])
        if hgrc.read_bytes() == (_shared() / 'hgrc').read_bytes():
            return _pool.get(kind, self.env)
        if kind == HEADLESS:
            return None
        found = os.stat(hgrc)
        state = (found.st_mtime_ns, found.st_size, *self.env.items())
        if self._home is None or self._home_state != state:
            self.stop()
            self._home, self._home_state = CommandServer(HG, self.folder, self.env), state
        return self._home

    def restart(self) -> None:
        """End the command servers, before a file is replaced that they have open."""
        _pool.stop_all()

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
        kind = _kind(Path(source)) if source.startswith('/') else STOCK
        self.hg_fast(kind, ('clone', '-q', *args, source, name), self.folder, 0)
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
        """Run hg in a process of its own: see `World.hg`."""
        return self.world.hg(*args, cwd=self.root, **kwargs)

    def hg_fast(self, *args: str | bytes | Path, code: int | None = 0) -> Result:
        """As `hg`, by a command server: for commands that load nothing, and need no environment.

        What a command loads stays loaded there. So a repository that loads other extensions
        than ours still gets a process, and a clone by path another server than stock hg's.
        """
        remote = re.search('^default = (/.*)$', _hgrc(self.root), re.M)
        kind = _kind(self.root, *([Path(remote.group(1))] if remote else []))
        for word in map(str, args):
            assert 'extensions.' not in word, 'this loads an extension: use hg()'
            assert not word.startswith('/') or _kind(Path(word)) in (STOCK, kind), 'use hg()'
        return self.world.hg_fast(kind, args, self.root, code)

    def _at_home(self, *args: str | bytes) -> Result:
        """What speaks to no other repository."""
        return self.world.hg_fast(_kind(self.root), args, self.root, 0)

    def commit(self, name: str, content: str | bytes | None = None, *args: str | bytes) -> str:
        """Write a file, commit it with its name as description, return the node."""
        data = (content if content is not None else name) or ''
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        if '-m' not in args and '-l' not in args:
            args = (*args, '-m', name)
        self._at_home('commit', '-q', '-A', *args)
        return self.node()

    def publish(self, name: str) -> str:
        """Commit, and make it public here; the node."""
        node = self.commit(name)
        self._at_home('phase', '--public', node)
        return node

    def node(self, rev: str = '.') -> str:
        return self._at_home('log', '-r', rev, '-T', '{node}')

    def log(self, revs: str = 'all()', template: str = '{node} {phase}\n') -> list[str]:
        return self._at_home('log', '-r', revs, '-T', template).splitlines()

    def verified(self) -> None:
        self._at_home('verify', '-q')

    def facts(self, revs: str) -> str:
        """All that makes a changeset: manifest, patch, extras."""
        template = '{node} {manifest.node}\n{extras}\n{author}\n{date|rfc3339date}\n{desc}\n'
        revs = f'sort({revs}, node)'
        log = self._at_home('log', '-r', revs, '--debug', '-T', template)
        return log + self._at_home('export', '--git', '-r', revs)


def _kind(*roots: Path) -> str | None:
    """The kind of command server for repositories; None for those that need a process.

    A server without the push extension has rules of its own, by what is loaded.
    """
    loaded = [line for root in roots for line in _extensions(root)]
    if not loaded:
        return STOCK
    return HEADLESS if OURS[0] in loaded and set(loaded) <= set(OURS) else None


def _extensions(root: Path) -> list[str]:
    """What an hgrc loads: all lines below ``[extensions]``, and hooks in Python."""
    settings = _hgrc(root)
    sections = re.findall(r'^\[extensions\]\n([^\[]*)', settings, re.M)
    return [*''.join(sections).split('\n')[:-1], *re.findall('= *python:.*', settings)]


def _hgrc(root: Path) -> str:
    path = root / '.hg' / 'hgrc'
    return path.read_text() if path.is_file() else ''


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


@functools.cache
def _embedded(repository: str = 'try') -> Path:
    """The folder with the embedded database and its store that ``admin::headless-init`` makes."""
    folder = Path(tempfile.mkdtemp(prefix='headless-embedded-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = World(folder).init('made')
    (made.root / '.hg' / 'hgrc').write_text(
        f'[extensions]\n{_loading(("push", "web"))}[headless]\nrepository = {repository}\n'
    )
    made.hg('admin::headless-init')
    return made.root / '.hg' / 'headless'


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

    def __init__(
        self,
        world: World,
        name: str = 'server',
        settings: str = '',
        public: int = 3,
        extensions: tuple[str, ...] = ('push', 'web'),
        copied: Path | None = None,
    ) -> None:
        """``copied`` is a server that this one begins as."""
        super().__init__(world, world.folder / name)
        shutil.copytree(copied or _history(public), self.root)
        if extensions and copied is None:
            require_headless(self.root)
            if 'database' not in settings:
                names = re.findall('^repository = (.*)', settings, re.MULTILINE)
                shutil.copytree(_embedded(*names), self.root / '.hg' / 'headless')
        self._url: str | None = None
        self._processes: list[subprocess.Popen[str]] = []
        self._base = _loading(extensions)
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
        if self._url is None:
            self._url = self.start_another()
        return self._url

    @property
    def shown_name(self) -> str:
        """What pages call it if it has no ``web.name``: its place below hgwebdir, or its own."""
        return f'group/{self.root.name}' if BELOW_HGWEBDIR else 'try'

    def start_another(self) -> str:
        """One more process that serves over http; its URL."""
        served: list[str | Path] = ['-R', self.root]
        path = ''
        if BELOW_HGWEBDIR:
            served, path = ['--web-conf', self._web_conf()], f'group/{self.root.name}/'
            # See docs/operating.rst.
            served += ['--config', 'extensions.hgext_headless.web=']
        # Not with -d: each daemon is started by an hg that loads all that it loads.
        process = subprocess.Popen(
            [
                HG,
                'serve',
                *served,
                '-a',
                '127.0.0.1',
                '-p',
                '0',
                '-A',
                self.root / '.hg' / 'access.log',
                '-E',
                self.root / '.hg' / 'error.log',
            ],
            cwd=self.world.folder,
            env={**self.world.env, **self.extra_env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r':(\d+)/', line)
        assert found, line
        return f'http://127.0.0.1:{found.group(1)}/{path}'

    def _web_conf(self) -> Path:
        """A file that names this repository, in a subfolder, and another headless one."""
        beside = self.world.folder / f'{self.root.name}-beside'
        if not beside.exists():
            shutil.copytree(_history(1), beside)
            require_headless(beside)
            shutil.copytree(_embedded('beside'), beside / '.hg' / 'headless')
            (beside / '.hg' / 'hgrc').write_text(
                f'[extensions]\n{_loading(("push", "web"))}[headless]\nrepository = beside\n'
            )
        conf = self.world.folder / f'{self.root.name}.web-conf'
        conf.write_text(f'[paths]\nbeside = {beside}\ngroup/{self.root.name} = {self.root}\n')
        return conf

    @property
    def pid(self) -> int:
        """Of the process that was started first."""
        return self._processes[0].pid

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.communicate(timeout=30)
        self._url, self._processes = None, []

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

    def lose_rows(self, *tables: str) -> None:
        """Delete all rows of tables, in any database."""
        engine = sqlalchemy.create_engine(self.configured('database'))
        with engine.begin() as connection:
            for table in tables:
                connection.execute(sqlalchemy.text(f'DELETE FROM {table}'))
        engine.dispose()

    def errors(self) -> str:
        log = self.root / '.hg' / 'error.log'
        return log.read_text() if log.exists() else ''

    def changesets(self) -> int:
        """How many the repository itself has, by the index of its changelog.

        An hg that loads the extensions takes half a second to count them.
        """
        path = self.root / '.hg' / 'store' / '00changelog.i'
        index = path.read_bytes() if path.exists() else b''
        inline = int.from_bytes(index[:4], 'big') >> 16 & 1  # hg help internals.revlogs
        count = position = 0
        while position < len(index):
            length = int.from_bytes(index[position + 8 : position + 12], 'big')
            position += 64 + (length if inline else 0)
            count += 1
        assert position == len(index)
        return count
