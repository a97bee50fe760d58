"""What an operator counts: headless-stats, its file for Prometheus, and the lines in the log."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from helpers.web import fetch, fetch_json
from helpers.world import HG, Server


def log_lines(server: Server) -> list[dict[str, str]]:
    """Our lines in the server's blackbox, as a monitor would read them."""
    found = []
    for line in (server.root / '.hg' / 'blackbox.log').read_text().splitlines():
        _prefix, marker, text = line.partition('> headless ')
        if marker:
            pairs = re.findall(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S+)(?: |$)', text)
            assert ' '.join(f'{key}={value}' for key, value in pairs) == text
            found.append({k: json.loads(v) if v[0] == '"' else v for k, v in pairs})
    return found


def new_lines(server: Server) -> list[dict[str, str]]:
    found = log_lines(server)
    (server.root / '.hg' / 'blackbox.log').write_text('')
    return found


def seconds(line: dict[str, str], *stages: str) -> float:
    """The time of some stages, which a line must have, and no others."""
    found = {key[: -len('_seconds')]: value for key, value in line.items() if '_seconds' in key}
    assert set(found) == {*stages, 'total'}, line
    assert all(re.fullmatch(r'\d+\.\d{3}', value) for value in found.values()), line
    parts = sum(float(found[stage]) for stage in stages)
    assert parts <= float(found['total']) + 0.001 * (len(stages) + 1)
    return parts


def test_stats(world, make_server, backend):
    server = make_server(backend)
    empty = json.loads(server.hg_fast('admin::headless-stats', '-Tjson'))[0]
    assert set(empty['totals'].values()) == {0, None}
    assert (empty['days'], empty['users']) == ([], [])
    assert 'drafts stored' in server.hg_fast('admin::headless-stats')
    reading = subprocess.run(
        ['sh', '-c', f'{HG} admin::headless-stats | true'],
        cwd=server.root, env=world.env, capture_output=True,
    )  # fmt: skip
    assert reading.stderr == b''

    alice = world.clone(str(server.root), 'alice')
    alice.commit('a')
    alice.hg_fast('push', '-q')
    alice.commit('b')
    alice.commit('c')
    alice.hg('push', '-q', '-f', '-r', '.', env={'USER': 'bob\njones'})
    alice.hg_fast('update', '-q', '0')
    alice.commit('d')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    prom = world.folder / 'headless.prom'
    stats = json.loads(server.hg_fast('admin::headless-stats', '-Tjson', '--prometheus', prom))[0]
    totals = stats['totals']
    assert {k: v for k, v in totals.items() if 'push' not in k or k.endswith('id')} == {
        'changesets': 4,
        'tombstones': 0,
        'drafts': 4,
        'bundles': 3,
        'bytes': totals['bytes'],
        'bookmarks': 0,
        'markers': 0,
        'last_push_id': 3,
        'oldest_bundle': totals['oldest_bundle'],
        'newest_bundle': totals['newest_bundle'],
    }
    assert totals['pushes'] == 3
    now = time.time()
    dates = [totals[f'{name}_push'] for name in ('first', 'last')]
    assert now - 60 < dates[0] <= dates[1] <= now
    assert totals['oldest_bundle'] <= totals['newest_bundle'] <= now
    days = stats['days']  # two of them around midnight
    assert all(re.fullmatch(r'\d{4}-\d\d-\d\d', day['day']) for day in days)
    for field in ('pushes', 'changesets', 'bundles', 'bytes'):
        assert sum(day[field] for day in days) == totals[field]
    assert stats['users'] == [
        {'user': 'alice', 'pushes': 2, 'changesets': 2},
        {'user': 'bob\njones', 'pushes': 1, 'changesets': 2},
    ]
    assert [ages['bundles'] for ages in stats['ages']] == [3, 0, 0, 0, 0, 0]
    assert stats['ages'][0]['bytes'] == totals['bytes'] > 0

    text = prom.read_text()
    metrics = dict(line.rsplit(' ', 1) for line in text.splitlines() if line[0] != '#')
    assert float(metrics['headless_pushes_total{repository="try"}']) == 3
    assert float(metrics['headless_drafts{repository="try"}']) == 4
    size = metrics['headless_bundles_size_bytes{repository="try"}']
    assert float(size) == totals['bytes']
    assert '# TYPE headless_pushes_total counter' in text
    assert [path.name for path in world.folder.glob('headless.prom*')] == ['headless.prom']
    if backend == 'services':
        return

    # As if the first push had been a hundred days ago, and its bundle had expired.
    for table, column, row in (('pushes', 'date', 'push_id'), ('bundles', 'created', 'id')):
        server.sql(f'UPDATE {table} SET {column} = {column} - 8640000 WHERE {row} = 1')
    stats = json.loads(server.hg_fast('admin::headless-stats', '-Tjson', '--days', '101'))[0]
    first, *later = (day['pushes'] for day in stats['days'])
    assert (first, sum(later)) == (1, 2)
    assert [(a['older_than'], a['bundles']) for a in stats['ages'] if a['bundles']] == [
        (None, 2),
        ('90d', 1),
    ]
    server.hg_fast('admin::headless-expire', '-q', '-u', 'bob\njones')
    out = server.hg_fast('admin::headless-stats')
    assert re.search(r'^changesets pushed +4\nof them gone +2\ndrafts stored +2\n', out, re.M)
    assert re.search(r'^first push +\d{4}-\d\d-\d\d, 100 days ago$', out, re.M)
    listed = re.findall(r'^\d{4}-\d\d-\d\d +(\d+) +(\d+) +(\d+) +\d+ bytes$', out, re.M)
    assert [sum(map(int, column)) for column in zip(*listed)] == [2, 3, 1]
    assert re.search(r'^bob\\njones +1 +2$', out, re.M)


def test_prometheus_problems(world, make_server):
    server = make_server('embedded', public=0)
    missing = world.folder / 'nowhere' / 'headless.prom'
    out = server.hg_fast('admin::headless-stats', '--prometheus', missing, code=255)
    assert out == (
        f'abort: headless: refused: --prometheus: {missing} cannot be written: '
        'No such file or directory\n'
    )
    assert 'from 1 to' in server.hg_fast('admin::headless-stats', '--days', '0', code=255)
    (world.folder / 'hide.py').write_text('import sys\nsys.modules["prometheus_client"] = None\n')
    out = server.hg(
        'admin::headless-stats',
        '--prometheus',
        'x.prom',
        '--config',
        f'extensions.hide={world.folder}/hide.py',
        code=255,
    )
    assert out.count('\n') == 1
    assert 'misconfigured: ' in out
    assert 'pip install hgext-headless[prometheus]' in out


def test_without_the_package(world, make_server):
    """A server works, but for its metrics: the package is optional."""
    server = make_server('embedded')
    hide = world.folder / 'hide.py'
    hide.write_text('import sys\nsys.modules["prometheus_client"] = None\n')
    hgrc = server.root / '.hg' / 'hgrc'
    hgrc.write_text(f'[extensions]\nhide = {hide}\n{hgrc.read_text()}')
    base = server.start()
    assert fetch_json(base + 'json-pushes') == {}
    assert fetch_json(base + 'headless-ready')
    code, body, _headers = fetch(base + 'headless-metrics')
    assert code == 501 and b'pip install hgext-headless[prometheus]' in body


@pytest.fixture
def logging(world, make_server):
    server = make_server('embedded')
    hook = world.folder / 'hook.sh'
    hook.write_text('#!/bin/sh\nsleep 0.2\ntest ! -e "$0.refuse"\n')
    hook.chmod(0o755)
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[extensions]\nblackbox =\n[hooks]\npretxnchangegroup.slow = {hook}\n')
    return server, hook


PUSH = ('receive', 'database', 'hooks', 'quarantine')
STORED = (*PUSH, 'pack', 'store', 'repository')


def test_log_of_pushes(world, logging):
    server, hook = logging
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a', 'a' * 9999)
    alice.hg('push', env={'USER': 'eve"\nheadless event=push'})
    (line,) = new_lines(server)
    assert seconds(line, *STORED) > 0.2
    assert float(line['hooks_seconds']) > 0.2
    assert (line['event'], line['outcome']) == ('push', 'ok')
    assert line['user'] == 'eve"\nheadless event=push'
    assert (line['push'], line['changesets'], line['bundles']) == ('1', '1', '1')
    assert 0 < int(line['stored_bytes']) < 9999 < int(line['bytes'])

    alice.commit('b')
    refuse = Path(f'{hook}.refuse')
    refuse.touch()
    alice.hg_fast('push', '-f', code=255)
    (line,) = new_lines(server)
    assert (line['outcome'], line['error'], line['user']) == ('aborted', 'HookAbort', 'alice')
    assert 'push' not in line
    assert seconds(line, *PUSH) > 0.2
    refuse.unlink()
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[headless]\nmax-push-size = 100\n')
    alice.hg_fast('push', '-f', code=255)
    (line,) = new_lines(server)
    assert line['outcome'] == 'refused'
    assert 'max-push-size' in line['error']
    seconds(line, 'receive')


@pytest.mark.slow
def test_log_of_answers(world, logging):
    server, _hook = logging
    url = server.start()
    alice = world.clone(url, 'alice')
    node = alice.commit('a')
    alice.hg_fast('push', '-q')
    new_lines(server)

    bob = world.clone(url, 'bob')
    bob.hg_fast('pull', '-q', '-r', node)
    getbundle, link = new_lines(server)
    assert (getbundle['event'], getbundle['outcome'], getbundle['by']) == (
        'getbundle',
        'ok',
        'link',
    )
    assert (getbundle['drafts'], getbundle['bundles']) == ('1', '1')
    seconds(getbundle, 'lookup', 'links')
    assert (link['event'], link['by'], link['bytes']) == ('link', 'stream', getbundle['bytes'])
    assert 'signature' not in str(link)
    seconds(link, 'sign')
    alice.hg('clone', '-q', '-r', node, str(server.root), '../carol')
    inline = new_lines(server)[-1]
    assert (inline['event'], inline['by']) == ('getbundle', 'inline')
    seconds(inline, 'lookup', 'links', 'inline')

    assert fetch(f'{url}rev/{node[:12]}')[0] == 200
    assert fetch(f'{url}rev/{"e" * 12}')[0] == 404
    forged = fetch(f'{url}headless-bundle/{"0" * 64}?expires=9999999999&signature=secret')
    assert forged[0] == 403
    assert len(fetch_json(f'{url}json-pushes?full=1&user=anonymous')) == 1
    assert fetch_json(f'{url}json-pushes?startID=x', 400)
    server.stop()
    page, missing, forged_link, pushes, wrong = new_lines(server)
    assert (page['event'], page['command'], page['status']) == ('page', 'rev', '200')
    assert (page['drafts'], missing['drafts'], missing['status']) == ('1', '0', '404')
    seconds(page, 'lookup', 'lay')
    seconds(missing, 'lookup')
    assert (forged_link['event'], forged_link['outcome']) == ('link', 'refused')
    assert 'secret' not in str(forged_link)
    assert (pushes['event'], pushes['command'], pushes['status']) == ('pushlog', 'pushes', '200')
    assert (pushes['pushes'], pushes['query']) == ('1', 'full=1&user=anonymous')
    seconds(pushes, 'find')
    assert wrong['status'] == '400'
