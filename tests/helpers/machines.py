"""Machines of a fleet: namespaces of Linux with a network, files and processes of their own.

What the documents tell an operator runs there word for word, as root and as other users, with
the programs of this machine. Nothing that is written below `WRITABLE` is seen outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

#: Each machine has its own copy of these, in memory.
WRITABLE = ('/etc', '/home', '/root', '/srv', '/usr/local', '/var')
PROGRAMS = ('unshare', 'nsenter', 'ip', 'mount', 'runuser', 'useradd', 'setsid')
_PR_SET_PDEATHSIG = 1
#: The files of a machine. /opt is the same for all, so that one installation does.
_FILES = """
mount --make-rprivate /
for one in /opt/*; do
    mkdir -p {opt}/$(basename $one)
    mount --bind $one {opt}/$(basename $one)
done
mount --rbind {opt} /opt
mount -t tmpfs -o mode=755 run /run
for folder in {writable}; do
    own=/run/machine$folder
    mkdir -p $own/upper $own/work
    mount -t overlay -o lowerdir=$folder,upperdir=$own/upper,workdir=$own/work overlay $folder
done
mount -t tmpfs -o mode=1777 tmp /tmp
touch /run/is-ready
"""


def missing() -> str | None:
    """Why there can be no machines here, or None."""
    if os.getuid() != 0:
        return 'only root makes machines'
    lacks = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacks:
        return f'{lacks[0]} is missing'
    done = subprocess.run(['unshare', '-mnup', '--fork', 'true'], capture_output=True, text=True)
    return done.stderr if done.returncode else None


class Machine:
    """One of them; ``kill`` ends all that runs there."""

    def __init__(self, network: Network, name: str, address: str) -> None:
        self.name, self.address = name, address
        files = _FILES.format(writable=' '.join(WRITABLE), opt=network.opt)
        self._holder = _namespaces(files, '-mnup', '--fork', '--kill-child', '--mount-proc')
        self.pid = _first_child(self._holder.pid)
        self._wait()
        end = f'h{address.rsplit(".", 1)[1]}'
        ip = ['nsenter', '-t', str(network.pid), '-n', 'ip']
        peer = ['peer', 'name', 'eth0', 'netns', str(self.pid)]
        subprocess.run([*ip, 'link', 'add', end, 'type', 'veth', *peer], check=True)
        subprocess.run([*ip, 'link', 'set', end, 'master', 'bridge', 'up'], check=True)
        self.sh(
            f'ip link set lo up; ip link set eth0 up; ip address add {address}/24 dev eth0\n'
            f'hostname {name}'
        )

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while self.run('test', '-e', '/run/is-ready').returncode:
            assert self._holder.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)

    def command(
        self, *words: str | Path, user: str = 'root', is_online: bool = False
    ) -> list[str | Path]:
        """What runs a command there, with an environment of its own, and maybe this machine's
        network."""
        home = {'root': '/root', 'postgres': '/var/lib/postgresql'}.get(user, f'/var/lib/{user}')
        path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
        pip = [f'{k}={v}' for k, v in os.environ.items() if is_online and k.startswith('PIP_')]
        return [
            'nsenter', '-t', str(self.pid), '-m', '-u', '-p', *([] if is_online else ['-n']),
            'runuser', '-u', user, '--', 'env', '-i', f'HOME={home}', f'USER={user}',
            f'PATH={path}', 'LANG=C.UTF-8', *pip, *words,
        ]  # fmt: skip

    def run(
        self, *words: str | Path, user: str = 'root', text: str = '', is_online: bool = False
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words, user=user, is_online=is_online),
            cwd='/',
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )

    def sh(
        self,
        script: str,
        user: str = 'root',
        text: str = '',
        code: int = 0,
        is_online: bool = False,
    ) -> str:
        """Run a script; what it printed."""
        done = self.run('sh', '-ec', script, user=user, text=text, is_online=is_online)
        assert done.returncode == code, f'{self.name}, {user}: {script}\n{done.stdout}'
        assert 'Traceback' not in done.stdout, done.stdout
        return done.stdout

    def sh_with_passwords(self, script: str, user: str, passwords: Iterable[str]) -> None:
        """Run a script that asks for passwords, at a terminal."""
        master, terminal = os.openpty()
        words = self.command('setsid', '-c', '-w', 'sh', '-ec', script, user=user)
        process = subprocess.Popen(words, cwd='/', stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        left, shown = list(passwords), ''
        with contextlib.suppress(OSError):  # the other end was closed
            while data := os.read(master, 1000):
                shown += data.decode()
                if re.search('(password.*|again): *$', shown, re.I):
                    os.write(master, f'{left.pop(0)}\n'.encode())
        os.close(master)
        assert process.wait() == 0 and not left, shown

    def write(self, path: str, content: str, user: str = 'root', mode: str = '644') -> None:
        self.sh(f'umask 077; cat > {path}; chmod {mode} {path}', user, text=content)

    def begin(self, *words: str, user: str = 'root') -> None:
        """Start a process that goes on until the machine ends."""
        log = open(f'/proc/{self.pid}/root/tmp/{Path(words[0]).name}.log', 'ab')
        subprocess.Popen(
            self.command(*words, user=user), cwd='/', stdin=subprocess.DEVNULL, stdout=log,
            stderr=log,
        )  # fmt: skip

    def wait_for(self, test: str, seconds: float = 180) -> None:
        """Until a command succeeds."""
        deadline = time.monotonic() + seconds
        while (done := self.run('sh', '-c', test)).returncode:
            assert time.monotonic() < deadline, f'{self.name}: {test}: {done.stdout}'
            time.sleep(0.5)

    def kill(self) -> None:
        self._holder.kill()
        self._holder.wait()


class Network:
    """Machines by name, and what connects them; a context."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.opt = folder / 'opt'
        self.opt.mkdir(mode=0o755)
        self._holder = _namespaces('', '-n')
        self.pid = self._holder.pid
        self.machines: dict[str, Machine] = {}
        self._names = names

    def __enter__(self) -> dict[str, Machine]:
        try:
            own = os.readlink('/proc/self/ns/net')
            while os.readlink(f'/proc/{self.pid}/ns/net') == own:
                time.sleep(0.01)
            ip = ['nsenter', '-t', str(self.pid), '-n', 'ip', 'link']
            subprocess.run([*ip, 'add', 'bridge', 'type', 'bridge'], check=True)
            subprocess.run([*ip, 'set', 'bridge', 'up'], check=True)
            for number, name in enumerate(self._names, 1):
                self.machines[name] = Machine(self, name, f'10.77.0.{number}')
            hosts = [f'{one.address} {one.name}\n' for one in self.machines.values()]
            for one in self.machines.values():
                one.write('/etc/hosts', ''.join(['127.0.0.1 localhost\n', *hosts]))
            return self.machines
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc: object) -> None:
        for one in self.machines.values():
            one.kill()
        self._holder.kill()
        self._holder.wait()


def _namespaces(script: str, *options: str) -> subprocess.Popen[bytes]:
    """A process that has run a script in namespaces, and keeps them."""
    command = ['unshare', *options, 'sh', '-ec', f'{script}\nexec sleep infinity']
    return subprocess.Popen(command, cwd='/', preexec_fn=_die_with_parent)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _first_child(pid: int) -> int:
    children = Path(f'/proc/{pid}/task/{pid}/children')
    while not (found := children.read_text().split()):
        time.sleep(0.01)
    return int(found[0])
