"""The files in ``examples``: they parse, name what exists, and work where their programs are."""

from __future__ import annotations

import base64
import configparser
import contextlib
import importlib.util
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import fresh
from helpers import services as running
from helpers.web import fetch, fetch_json
from helpers.world import HG, Server, free_url

EXAMPLES = Path(__file__).parents[2] / 'examples'


def test_each_is_listed():
    listed = re.findall('^``([^`]+)``', (EXAMPLES / 'README.rst').read_text(), re.M)
    there = {path.name for path in EXAMPLES.iterdir()} - {'README.rst', '__pycache__'}
    assert there - set(listed) <= {'Dockerfile', 'entrypoint.sh'}  # of compose.yaml
    assert set(listed) <= there


class _Unit(configparser.RawConfigParser):
    """A file of systemd's, in which case matters."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.mark.parametrize('unit', sorted(EXAMPLES.glob('*.service')), ids=lambda path: path.name)
def test_commands_of_units(unit, make_server):
    """Each hg command, with its options, is one that exists."""
    parser = _Unit(strict=False)
    parser.read(unit)
    command = parser['Service']['ExecStart'].split()
    if not command[0].endswith('/hg'):
        return
    server = make_server('embedded')
    options = [word.split('=')[0] for word in command if word.startswith('--')]
    shown = server.hg_fast('help', '-v', command[3])
    assert all(option in shown for option in options), (options, shown)


@pytest.mark.skipif(shutil.which('systemd-analyze') is None, reason='systemd is missing')
@pytest.mark.parametrize('unit', sorted(EXAMPLES.glob('*.service')), ids=lambda path: path.name)
def test_units_are_confined(unit):
    shown = subprocess.run(
        ['systemd-analyze', 'security', '--offline=true', '--threshold=20', unit],
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stdout.splitlines()[-1]


@pytest.mark.parametrize('unit', sorted(EXAMPLES.glob('*.service')), ids=lambda path: path.name)
def test_units_may_share_a_repository(unit):
    """Of one that a group has, Mercurial makes each new folder setgid, and the group's."""
    parser = _Unit(strict=False)
    parser.read(unit)
    assert 'RestrictSUIDSGID' not in parser['Service']


def test_dashboard(make_server):
    """Each metric that it asks for exists."""
    pytest.importorskip('prometheus_client')
    url = make_server('embedded').start()
    text = fetch(url + 'headless-metrics')[1].decode('ascii')
    served = set(re.findall('^# TYPE ([a-z_]+)', text, re.M))
    asked = set(re.findall(r'\bheadless_[a-z_]+', (EXAMPLES / 'grafana.json').read_text()))
    # An embedded database has no log of public history.
    known = served | {'headless_lag_seconds'}
    assert {name.removesuffix('_total') for name in asked} <= {
        name.removesuffix('_total') for name in known
    }
    assert json.loads((EXAMPLES / 'grafana.json').read_text())['panels']


def test_wsgi(world, make_server):
    """The WSGI script, under a WSGI server with threads."""
    server = make_server('embedded')
    script = (EXAMPLES / 'hgweb_wsgi.py').read_text()
    script = script.replace('/srv/hg/try', str(server.root))
    (world.folder / 'hgweb_wsgi.py').write_text(script)
    url, port = free_url()
    (world.folder / 'serve.py').write_text(
        'import socketserver, sys\n'
        'from wsgiref.simple_server import WSGIServer, make_server\n'
        'from hgweb_wsgi import application\n'
        'class Threads(socketserver.ThreadingMixIn, WSGIServer): daemon_threads = True\n'
        f"make_server('127.0.0.1', {port}, application, Threads).serve_forever()\n"
    )
    with open(world.folder / 'wsgi.log', 'wb') as log:
        process = subprocess.Popen(
            [sys.executable, 'serve.py'], cwd=world.folder, env=world.env, stderr=log
        )
    try:
        world.wait_for(url)
        alice = world.clone(url, 'alice')
        tip = alice.commit('a')
        assert f'see {url}push/1' in alice.hg_fast('push')
        world.clone(url, 'bob', '-r', tip).verified()
        assert fetch(f'{url}rev/{tip}')[0] == 200
        assert '1' in fetch_json(f'{url}json-pushes')
    finally:
        process.kill()
        process.wait()
    assert 'Traceback' not in (world.folder / 'wsgi.log').read_text()


def test_wsgi_without_settings(world, make_server):
    """Where the hgrc is not in effect, one line says so; the process lives nevertheless."""
    server = make_server('embedded')
    (server.root / '.hg' / 'hgrc').unlink()
    script = (EXAMPLES / 'hgweb_wsgi.py').read_text()
    script = script.replace('/srv/hg/try', str(server.root))
    ask = (
        'import io\n'
        'for path in ("/", "/headless-health"):\n'
        '    environ = {"PATH_INFO": path, "wsgi.errors": io.StringIO()}\n'
        '    answer = application(environ, lambda status, headers: print(status))\n'
        '    print(b"".join(answer).decode())\n'
        '    print(environ["wsgi.errors"].getvalue())\n'
    )

    def answers() -> str:
        command = [sys.executable, '-c', script + ask]
        return subprocess.run(command, env=world.env, text=True, stdout=subprocess.PIPE).stdout

    out = answers()
    why = 'repository requires features unknown to this Mercurial: headless'
    assert out.startswith(f'503 {why}: can the user of this server read its .hg/hgrc')
    assert out.count(why) == 3 and "b'" not in out
    assert out.endswith('200 OK\n{"status": "ok"}\n\n\n')
    (server.root / '.hg' / 'requires').unlink()
    (server.root / '.hg' / 'requires').mkdir()
    out = answers()
    assert out.startswith(f'503 {server.root}/.hg/requires: Is a dir') and "b'" not in out


@contextlib.contextmanager
def in_a_session(*command, **options):
    """A process that takes all that it has started with it."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_entrypoint(world, services, tmp_path):
    """The containers of compose.yaml, without containers."""
    programs = tmp_path / 'programs'
    programs.mkdir()
    owned = tmp_path / 'owned'
    stubs = {
        # hg would not read an hgrc of root.
        'su': f'for one in {tmp_path}/*/.hg/hgrc; do\n'
        f'[ ! -e "$one" ] || grep -qsxF "$one" {owned} || exit 1\ndone\nexec sh -c "$3"\n',
        'chown': f'echo "$2" >> {owned}\n',
    }
    for name, text in stubs.items():
        (programs / name).write_text(f'#!/bin/sh\n{text}')
        (programs / name).chmod(0o755)
    settings = dict(re.findall('^(.*) = (.*)$', fresh(world, services), re.M))
    (push, push_port), (_hgweb, hgweb_port) = (free_url() for _ in range(2))
    text = (EXAMPLES / 'entrypoint.sh').read_text()
    for old, new in {
        'http://s3:8333': services.endpoint,
        'bucket=hg-drafts': f'bucket={running.BUCKET}',
        's3://$bucket': settings['store'],
        'postgresql+psycopg2://headless@postgres/headless': settings['database'],
        'http://push:8000/': push,
    }.items():
        assert old in text
        text = text.replace(old, new)
    env = {**world.env, 'PATH': f'{programs}:{os.path.dirname(HG)}:{os.environ["PATH"]}'}
    with contextlib.ExitStack() as stack:
        for role, port in (('push', push_port), ('hgweb', hgweb_port)):
            script = text.replace('/srv/hg/try', str(tmp_path / role))
            script = re.sub('address .* 8000', f'address 127.0.0.1 --port {port}', script)
            (tmp_path / f'{role}.sh').write_text(script)
            stack.enter_context(
                in_a_session('sh', tmp_path / f'{role}.sh', env={**env, 'ROLE': role})
            )
            world.wait_for(f'http://127.0.0.1:{port}/')
        alice = world.clone(push, 'alice')
        alice.publish('public')
        alice.hg_fast('push', '-q')
        draft = alice.commit('draft')
        assert 'as push 2' in alice.hg_fast('push')
        deadline = time.monotonic() + 30
        while not fetch_json(f'http://127.0.0.1:{hgweb_port}/json-pushes'):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        bob = world.clone(f'http://127.0.0.1:{hgweb_port}/', 'bob', '-r', draft)
        assert bob.log(template='{phase}\n') == ['public', 'draft']


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('gunicorn') is None, reason='gunicorn is missing')
def test_gunicorn(make_server, world, tmp_path):
    """Links begin with what the client sees, and nobody sets the user but the proxy."""
    server = make_server('embedded')
    script = (EXAMPLES / 'hgweb_wsgi.py').read_text()
    (tmp_path / 'hgweb_wsgi.py').write_text(script.replace('/srv/hg/try', str(server.root)))
    url, port = free_url()
    server.configure('events = file')
    process = subprocess.Popen(
        [
            sys.executable, '-m', 'gunicorn', '--workers', '2', '--threads', '2', '--bind',
            f'127.0.0.1:{port}', '--no-control-socket', '--chdir', tmp_path,
            'hgweb_wsgi:application',
        ],
        env=world.env,
    )  # fmt: skip
    try:
        # While the hgrc is wrong, it says so instead of ending.
        world.wait_for(url)
        code, body, _headers = fetch(f'{url}headless-ready')
        assert code == 503 and body.startswith(b'headless: misconfigured: headless.events "file"')
        server.configure('')
        clone = world.clone(url, 'clone')
        clone.commit('a')
        clone.hg_fast('push')
        assert fetch_json(url + 'json-pushes')['1']['user'] == 'anonymous'
        headers = {'Host': 'hg.example.com', 'X-Forwarded-Proto': 'https'}
        page = fetch(url + 'pushlog', **headers)[1].decode()
        assert 'https://hg.example.com/' in page and '127.0.0.1' not in page
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('gunicorn') is None, reason='gunicorn is missing')
def test_pushes_that_stop_are_in_nobodys_way(make_server, world, tmp_path):
    """As long as hgweb.service has a thread that is free."""
    server = make_server('embedded')
    url, port = _gunicorn_of(tmp_path, server)
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            in_a_session(
                sys.executable, '-m', 'gunicorn', *_options(port), cwd=tmp_path, env=world.env
            )
        )
        world.wait_for(url)
        for _ in range(7):  # of eight
            client = stack.enter_context(socket.create_connection(('127.0.0.1', port)))
            client.sendall(b'POST /?cmd=unbundle HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n')
            client.sendall(b'X-HgArg-1: heads=\r\n\r\nHG20')
            time.sleep(0.2)
        for _ in range(10):
            with urllib.request.urlopen(f'{url}headless-health', timeout=20) as answer:
                assert answer.status == 200


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('gunicorn') is None, reason='gunicorn is missing')
@pytest.mark.skipif(shutil.which('nginx') is None, reason='nginx is missing')
@pytest.mark.skipif(shutil.which('openssl') is None, reason='openssl is missing')
def test_nginx_in_front_of_gunicorn(make_server, world, tmp_path, monkeypatch):
    """As hgweb.service and nginx.conf say, but for names, ports and the number of workers."""
    server = make_server('embedded', 'inline = never\n')
    gunicorn, gunicorn_port = _gunicorn_of(tmp_path, server)
    port = free_url()[1]
    url = f'https://localhost:{port}/'
    conf, log, certificate = _nginx(tmp_path, port, gunicorn_port)
    monkeypatch.setenv('SSL_CERT_FILE', str(certificate))
    with open(world.folder / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[web]\ncacerts = {certificate}\n')
    login = ('--config', f'auth.x.prefix={url}', '--config', 'auth.x.username=alice')
    right, wrong = ((*login, '--config', f'auth.x.password={word}') for word in ('pw', 'no'))

    with contextlib.ExitStack() as stack:
        master = stack.enter_context(
            in_a_session(
                sys.executable,
                '-m',
                'gunicorn',
                *_options(gunicorn_port),
                cwd=tmp_path,
                env=world.env,
            )
        )
        stack.enter_context(
            in_a_session('nginx', '-p', tmp_path, '-c', conf, '-e', log, '-g', 'daemon off;')
        )
        world.wait_for(gunicorn)
        world.wait_for(f'https://127.0.0.1:{port}/')

        # Reading needs no login, pushing does; a push may be larger than nginx's own limit.
        alice = world.clone(url, 'alice')
        (alice.root / 'large').write_bytes(os.urandom(3_000_000))
        draft = alice.commit('draft')
        assert 'authorization required' in alice.hg_fast('push', code=255)
        assert 'authorization failed' in alice.hg_fast('push', *wrong, code=255)
        assert f'see {url}push/1' in alice.hg_fast('push', *right)
        alice.publish('public')
        assert 'as push 2' in alice.hg_fast('push', *right)
        pushes = fetch_json(f'{url}json-pushes')
        assert [push['user'] for push in pushes.values()] == ['alice', 'alice']
        feed = fetch(f'{url}pushlog')[1]
        assert f'"{url}pushlog"'.encode() in feed and b'127.0.0.1' not in feed
        world.clone(url, 'bob', '-r', draft).verified()

        # For load balancers and Prometheus.
        for page, expected in (
            ('headless-health', 200), ('headless-ready', 200), ('headless-metrics', 403),
            ('headless-metrics/', 403), ('below/hgwebdir/headless-metrics', 403),
        ):
            assert fetch(f'{url}{page}')[0] == expected, page
        found = fetch(f'{gunicorn}headless-metrics')[1].decode()
        assert 'headless_pushes_total{repository="try"} 2.0' in found

        # A name that nobody has checked is no user; gunicorn takes new settings with SIGHUP.
        with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
            hgrc.write('[web]\nallow_read = alice\n')
        master.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while fetch(f'{url}json-pushes')[0] != 401:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        unchecked = base64.b64encode(b'alice:no').decode()
        for headers in ({'Authorization': f'Basic {unchecked}'}, {'X-Remote-User': 'alice'}):
            assert fetch(f'{url}json-pushes', **headers)[0] == 401
    assert not re.search(r'upstream|\[(crit|alert|emerg)\]', log.read_text()), log.read_text()


def _gunicorn_of(folder: Path, server: Server) -> tuple[str, int]:
    """Write ``hgweb_wsgi.py`` for a server; a URL for gunicorn, and its port."""
    script = (EXAMPLES / 'hgweb_wsgi.py').read_text()
    (folder / 'hgweb_wsgi.py').write_text(script.replace('/srv/hg/try', str(server.root)))
    return free_url()


def _options(port: int) -> list[str]:
    """Those of ``hgweb.service``, but for two workers at a port."""
    unit = (EXAMPLES / 'hgweb.service').read_text()
    options = re.findall('^ExecStart=.*/gunicorn (.*)', unit, re.M)[0]
    return options.replace('workers 8', f'workers 2 --bind 127.0.0.1:{port}').split()


def _nginx(folder: Path, port: int, gunicorn_port: int) -> tuple[Path, Path, Path]:
    """A configuration of nginx with nginx.conf, its log, and the certificate."""
    key, certificate = folder / 'key.pem', folder / 'certificate.pem'
    subprocess.run(
        [
            'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj',
            '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out',
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    (folder / 'htpasswd').write_text('alice:{PLAIN}pw\n')
    text = (EXAMPLES / 'nginx.conf').read_text()
    for old, new in {
        'listen 443 ssl': f'listen 127.0.0.1:{port} ssl',
        '/etc/nginx/hg.pem': certificate,
        '/etc/nginx/hg.key': key,
        '/etc/nginx/hg.htpasswd': folder / 'htpasswd',
        'unix:/run/hgweb.sock': f'127.0.0.1:{gunicorn_port}',
    }.items():
        assert old in text
        text = text.replace(old, str(new))
    temporary = ''.join(
        f'{kind}_temp_path {folder}/temporary;\n'
        for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi')
    )
    # Where we are root, its workers would be somebody who cannot read this folder.
    name = pwd.getpwuid(os.getuid()).pw_name
    user = f'user {name};\n' if os.getuid() == 0 else ''
    (folder / 'nginx.conf').write_text(
        f'{user}pid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n'
    )
    return folder / 'nginx.conf', folder / 'nginx.log', certificate
