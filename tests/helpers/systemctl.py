#!/usr/bin/python3
"""Stands in for systemctl on a machine without systemd: see `machines`.

A unit's commands run as its user, with what it may write, its folders, and no memory that is
both written and run. Other limits of a unit are not in effect here.
"""

import configparser
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

UNITS = '/etc/systemd/system'
_PR_SET_MDWE = 65


class Unit(configparser.RawConfigParser):
    def __init__(self, name):
        super().__init__(strict=False)
        self.name = name if '.' in name else f'{name}.service'
        with open(f'{UNITS}/{self.name}') as lines:
            text = lines.read()
        self.commands: dict[str, list[str]] = {}
        for line in text.splitlines():
            key, equals, value = line.partition('=')
            if equals and key.startswith('Exec'):
                self.commands.setdefault(key, []).append(value)
        self.read_string(text)
        self.service = self['Service'] if self.has_section('Service') else {}

    def optionxform(self, name):
        return name

    @property
    def pid_file(self):
        return f'/run/{self.name}.pid'

    @property
    def pid(self):
        try:
            with open(self.pid_file) as text:
                pid = int(text.read())
            with open(f'/proc/{pid}/stat') as stat:
                return None if stat.read().split()[2] == 'Z' else pid
        except OSError:
            return None

    def listening(self):
        """The socket of the unit of that name, or None."""
        path = f'{UNITS}/{self.name.replace(".service", ".socket")}'
        if not os.path.exists(path):
            return None
        parser = configparser.RawConfigParser()
        parser.read(path)
        found = parser['Socket']
        with contextlib.suppress(FileNotFoundError):
            os.unlink(found['ListenStream'])
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(found['ListenStream'])
        shutil.chown(found['ListenStream'], found['SocketUser'])
        os.chmod(found['ListenStream'], int(found['SocketMode'], 8))
        listening.listen(100)
        return listening

    def started(self, command, listening=None):
        service = self.service
        user = service['User']
        writable = service.get('ReadWritePaths', '').split()
        script = ['mount --make-rprivate /']
        if service.get('PrivateTmp') == 'yes':
            script += ['mount -t tmpfs -o mode=1777 tmp /tmp']
        if service.get('ProtectHome') == 'yes':
            script += ['mount -t tmpfs home /home', 'mount -t tmpfs root /root']
        if service.get('ProtectSystem') == 'strict':
            script += [f'mount --bind {path} {path}' for path in writable]
            with open('/proc/self/mounts') as mounts:
                points = {line.split()[1] for line in mounts}
            script += [
                # Some are hidden by others.
                f'mount -o remount,bind,ro {point} 2> /dev/null || true'
                for point in sorted(points - set(writable))
                if not point.startswith(('/proc', '/dev', '/sys', '/tmp'))
            ]
        script.append(f'cd {service.get("WorkingDirectory", "/")}')
        script.append(f'umask {service.get("UMask", "0022")}')
        if listening:
            script.append(f'exec 3<&{listening.fileno()}')
            command = f"env LISTEN_FDS=1 sh -c 'LISTEN_PID=$$ exec {command}'"
        script.append(f'exec /usr/sbin/runuser -u {user} -- {command}')

        def before():
            os.setsid()
            if service.get('MemoryDenyWriteExecute') == 'yes':
                ctypes.CDLL(None).prctl(_PR_SET_MDWE, 1, 0, 0, 0)

        with open(f'/var/log/{self.name}.log', 'ab') as log:
            return subprocess.Popen(
                ['unshare', '-m', 'sh', '-ec', '\n'.join(script)],
                preexec_fn=before,
                stdin=subprocess.DEVNULL,
                pass_fds=[listening.fileno()] if listening else [],
                stdout=log,
                stderr=log,
                env={
                    'HOME': f'/var/lib/{user}',
                    'USER': user,
                    'LANG': 'C.UTF-8',
                    'PATH': '/usr/local/bin:/usr/bin:/bin',
                },
            )

    def run(self, key, **fields):
        for command in self.commands.get(key, ()):
            for name, value in fields.items():
                command = command.replace(f'${name}', str(value))
            if self.started(command).wait():
                sys.exit(f'Job for {self.name} failed: {command}')

    def start(self):
        if self.name.endswith('.timer'):
            Unit(self.name.replace('.timer', '.service'))  # it exists
        elif self.service.get('Type') == 'oneshot':
            self.run('ExecStart')
        elif not self.pid:
            process = self.started(self.commands['ExecStart'][0], self.listening())
            time.sleep(1)
            if process.poll() is not None:
                with open(f'/var/log/{self.name}.log') as log:
                    sys.exit(f'{self.name} ended at once: {log.read()}')
            with open(self.pid_file, 'w') as out:
                out.write(str(process.pid))

    def stop(self):
        if pid := self.pid:
            os.killpg(pid, signal.SIGTERM)
            while self.pid:
                time.sleep(0.05)

    def reload(self):
        # The first child of runuser is what systemd would call the main process.
        with open(f'/proc/{self.pid}/task/{self.pid}/children') as children:
            main = children.read().split()[0]
        self.run('ExecReload', MAINPID=main)


def main(verb, *names):
    for name in names:
        if name == '--now' or name.endswith('.socket'):
            continue
        if name.startswith('nginx'):
            subprocess.run(['nginx', '-s', 'reload'], check=True)
            continue
        if name == 'postgresql':
            subprocess.run(['postgresql', verb], check=True)
            continue
        unit = Unit(name)
        if verb in ('stop', 'restart', 'disable'):
            unit.stop()
        if verb in ('start', 'restart', 'enable'):
            unit.start()
        if verb == 'reload':
            unit.reload()
        if verb == 'is-active' and not unit.pid:
            sys.exit(3)


main(*sys.argv[1:])
