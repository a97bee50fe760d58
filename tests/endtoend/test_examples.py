"""The files in ``examples``: they parse, name what exists, and work where their programs are."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from web import fetch, fetch_json
from world import free_url

EXAMPLES = Path(__file__).parents[2] / 'examples'


def test_each_is_listed():
    listed = re.findall('^``([^`]+)``', (EXAMPLES / 'README.rst').read_text(), re.M)
    there = {path.name for path in EXAMPLES.iterdir()} - {'README.rst', '__pycache__'}
    assert there - set(listed) <= {'Dockerfile', 'entrypoint.sh'}  # of compose.yaml
    assert set(listed) <= there


@pytest.mark.parametrize('unit', sorted(EXAMPLES.glob('*.service')), ids=lambda path: path.name)
def test_commands_of_units(unit, make_server):
    """Each hg command, with its options, is one that exists."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(unit)
    command = parser['Service']['ExecStart'].split()
    if not command[0].endswith('/hg'):
        return
    server = make_server('embedded')
    options = [word.split('=')[0] for word in command if word.startswith('--')]
    shown = server.hg('help', '-v', command[3])
    assert all(option in shown for option in options), (options, shown)


def test_dashboard(make_server, tmp_path):
    """Each metric that it asks for exists."""
    pytest.importorskip('prometheus_client')
    (tmp_path / 'm').mkdir()
    server = make_server('embedded', f'metrics-dir = {tmp_path}/m\n')
    url = server.start()
    fetch_json(url + 'json-pushes')
    text = fetch(url + 'headless-metrics')[1].decode('ascii')
    served = set(re.findall('^# TYPE ([a-z_]+)', text, re.M))
    asked = set(re.findall(r'\bheadless_[a-z_]+', (EXAMPLES / 'grafana.json').read_text()))
    # An embedded database has no log of public history; the others of a family are suffixes.
    known = served | {'headless_lag_seconds'} | {f'{name}_bucket' for name in served}
    assert {name.removesuffix('_total') for name in asked} <= {
        name.removesuffix('_total') for name in known
    }
    assert json.loads((EXAMPLES / 'grafana.json').read_text())['panels']


def test_entrypoint_parses():
    subprocess.run(['sh', '-n', EXAMPLES / 'entrypoint.sh'], check=True)


@pytest.mark.skipif(importlib.util.find_spec('gunicorn') is None, reason='gunicorn is missing')
def test_gunicorn(make_server, world, tmp_path):
    """Links begin with what the client sees, and nobody sets the user but the proxy."""
    server = make_server('embedded')
    script = (EXAMPLES / 'hgweb_wsgi.py').read_text()
    (tmp_path / 'hgweb_wsgi.py').write_text(script.replace('/srv/hg/try', str(server.root)))
    url, port = free_url()
    process = subprocess.Popen(
        [
            sys.executable, '-m', 'gunicorn', '--workers', '2', '--threads', '2', '--bind',
            f'127.0.0.1:{port}', '--chdir', tmp_path, 'hgweb_wsgi:application',
        ],
        env=world.env,
    )
    try:
        world.wait_for(url)
        clone = world.clone(url, 'clone')
        clone.commit('a')
        clone.hg('push')
        assert fetch_json(url + 'json-pushes')['1']['user'] == 'anonymous'
        headers = {'Host': 'hg.example.com', 'X-Forwarded-Proto': 'https'}
        page = fetch(url + 'pushlog', **headers)[1].decode()
        assert 'https://hg.example.com/' in page and '127.0.0.1' not in page
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(shutil.which('nginx') is None, reason='nginx is missing')
def test_nginx(tmp_path):
    text = (EXAMPLES / 'nginx.conf').read_text()
    text = re.sub('^ *ssl_certificate.*\n', '', text, flags=re.M).replace('443 ssl', '4430')
    (tmp_path / 'nginx.conf').write_text(
        f'pid {tmp_path}/pid;\nerror_log {tmp_path}/log;\nevents {{}}\nhttp {{\n{text}}}\n'
    )
    done = subprocess.run(
        ['nginx', '-t', '-c', tmp_path / 'nginx.conf'], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
