"""Several headless repositories below one URL: ``--web-conf``, WSGI, and a proxy with a prefix."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.balancer import balanced
from helpers.web import fetch, fetch_json
from helpers.world import HG, Server, free_url

PATHS = ('try', 'group/other')


@pytest.fixture
def servers(world):
    """Two repositories, which no one serves yet, and a file that names both."""
    made = {}
    for number, path in enumerate(PATHS):
        settings = f'repository = try{number}\n'
        made[path] = Server(world, f'server{number}', settings, public=3 + number)
    lines = ''.join(f'{path} = {server.root}\n' for path, server in made.items())
    (world.folder / 'web.conf').write_text(
        f'[web]\npush_ssl = no\nallow-push = *\n[paths]\n{lines}'
    )
    return made


@contextlib.contextmanager
def running(world, command: list[str], url: str) -> Iterator[None]:
    with open(world.folder / 'web.log', 'wb') as log:
        process = subprocess.Popen(command, env=world.env, stdout=log, stderr=log)
    try:
        world.wait_for(url)
        yield
    finally:
        process.terminate()
        process.wait()
    assert 'hgext_headless' not in (world.folder / 'web.log').read_text()  # in a traceback


@pytest.fixture(
    params=[
        'web-conf',
        pytest.param('wsgi', marks=pytest.mark.slow),
        pytest.param('prefix', marks=pytest.mark.slow),
        pytest.param('proxy', marks=pytest.mark.slow),
    ]
)
def base(request, world, servers):
    """The URL below which both are, without a slash at its end."""
    url, port = free_url()
    root, kind, conf = url.rstrip('/'), request.param, world.folder / 'web.conf'
    serve = [HG, 'serve', '--web-conf', str(conf), '-a', '127.0.0.1', '-p', str(port)]
    if kind == 'wsgi':
        script = (
            'from mercurial.hgweb import hgwebdir\n'
            'from wsgiref.simple_server import make_server\n'
            f'make_server("127.0.0.1", {port}, hgwebdir({str(conf).encode()!r})).serve_forever()\n'
        )
        serve = [sys.executable, '-c', script]
    elif kind == 'prefix':
        serve += ['--prefix', 'hg']
        root += '/hg'
    with contextlib.ExitStack() as stack:
        if kind == 'proxy':
            front = stack.enter_context(balanced(f'http://127.0.0.1:{port}/', prefix='/code'))
            root = front.rstrip('/')
            for server in servers.values():
                with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
                    hgrc.write(f'[web]\nbaseurl = {root}\n')
            conf.write_text(conf.read_text().replace('[web]\n', f'[web]\nbaseurl = {root}\n'))
        stack.enter_context(running(world, serve, url))
        yield root


def wait_for(log: Path, line: str) -> None:
    """A server may log a request after it has answered."""
    deadline = time.monotonic() + 20
    while not re.search(line, log.read_text()):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.mark.slow
def test_main_road(world, servers, base):
    for number, path in enumerate(PATHS):
        url = f'{base}/{path}'
        server = servers[path]
        alice = world.clone(url, f'alice{number}')
        nodes = [alice.commit(f'a{number}')]
        out = alice.hg_fast('push')
        assert f'headless: see {url}/push/1' in out
        nodes.append(alice.commit('b'))
        alice.hg_fast('bookmark', 'mark')
        assert 'as push 2' in alice.hg_fast('push', '-B', 'mark')
        bob = world.clone(url, f'bob{number}')
        bob.hg_fast('pull', '-r', nodes[1])
        # By links, below the repository's own path, and not inline.
        wait_for(world.folder / 'web.log', rf'GET \S*/{path}/headless-bundle/\S+ HTTP/1.1" 200')
        assert bob.log('draft()', '{node}\n') == nodes
        bob.verified()
        assert world.hg('identify', '--id', '-r', 'mark', url).strip() == nodes[1][:12]
        world.clone(url, f'carol{number}', '-r', nodes[1]).verified()
        listed = fetch_json(f'{url}/json-pushes?version=2')['pushes']
        assert [p['changesets'] for p in listed.values()] == [[nodes[0]], [nodes[1]]]
        relevant = fetch_json(f'{url}/json-automationrelevance/{nodes[1]}')['changesets']
        assert [c['node'] for c in relevant] == nodes
        for page in (f'rev/{nodes[1]}', f'raw-file/{nodes[1]}/b', 'pushloghtml', 'pushlog'):
            assert fetch(f'{url}/{page}')[0] == 200
        body = fetch(f'{url}/pushloghtml')[1].decode()
        assert f'/{path}/rev/{nodes[1]}' in body or f'/{path}/rev/{nodes[1][:12]}' in body
        assert server.changesets() == 3 + number
    assert fetch(f'{base}/')[0] == 200
