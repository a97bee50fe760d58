"""Overlays share what a process knows of public history, and give back what they took."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest
from helpers.many_drafts import heads, stack
from helpers.web import fetch, fetch_json

SURVIVORS = """
import gc, os, sys
from mercurial import extensions, hg, ui
u = ui.ui.load()
repo = hg.repository(u, sys.argv[1].encode())
from hgext_headless.bundles import overlay
from hgext_headless.catalog import drafts
backend = repo.headless
nodes = [bytes.fromhex(one) for one in sys.argv[2:]]
with backend.catalog.reading() as session:
    bundles = drafts.bundles_with(session, nodes)
gc.collect()
gc.disable()
def read(node):
    with overlay.opened(repo, backend.store, [bundles[node]]) as laid:
        view = laid.filtered(b'served')
        context = view[node]
        phases = context.phasestr(), context.p1().phasestr()
        assert phases == (b'draft', b'public'), phases
        assert len(context.manifest()) == 3
        assert view.changelog.headrevs()
        prefix = view.changelog.shortest(node)
        assert view.changelog._partialmatch(prefix) == node
        kind = type(laid.changelog.index).__name__
    return kind, type(laid)
kinds = {read(node) for node in nodes for _time in range(5)}
assert len(kinds) == 1, kinds  # a class of its own each would never go
assert kinds.pop()[0] == 'SharedIndex'
left = [type(one).__name__ for one in gc.get_objects()]
for name in ('Changelog', 'Manifest', 'manifestctx', 'SharedIndex', 'overlay'):
    assert name not in left, (name, left.count(name))
"""


def test_nothing_of_an_overlay_survives(world, make_server):
    """Without a garbage collection: what an overlay holds is large."""
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    heads(alice, 4, '1', 'draft')
    alice.hg_fast('push', '-q', '-f')
    nodes = alice.log('draft()', '{node}\n')
    subprocess.run(
        [sys.executable, '-c', SURVIVORS, server.root, *nodes], env=world.env, check=True
    )


READS = """
import os, sys
from mercurial import hg, ui
repo = hg.repository(ui.ui.load(), sys.argv[1].encode())
from hgext_headless.bundles import overlay
from hgext_headless.catalog import drafts
head = bytes.fromhex(sys.argv[2])
with repo.headless.catalog.reading() as session:
    bundle = drafts.bundles_with(session, [head])[head]
def read():
    with open('/proc/self/io') as file:
        return int(file.readline().split()[1])
with overlay.opened(repo, repo.headless.store, [bundle]) as laid:
    before = read()
    for rev in reversed(range(len(laid))):  # as lists do
        laid[rev].description()
    print(read() - before)
"""


def test_a_list_reads_each_text_once(world, make_server):
    """Each is a delta against the one before, and a list begins with the last."""
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    stack(alice, 100)
    alice.hg_fast('push', '-q')
    done = subprocess.run(
        [sys.executable, '-c', READS, server.root, alice.node('tip')],
        env=world.env,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert int(done.stdout) < 4 << 20


PAGES = """
import gc, io, re, sys
from mercurial.hgweb import hgweb
app = hgweb(sys.argv[1].encode())
gc.collect()
gc.disable()
def page(node):
    started = []
    env = dict(REQUEST_METHOD='GET', PATH_INFO='/rev/' + node, SCRIPT_NAME='', QUERY_STRING='',
               SERVER_NAME='h', SERVER_PORT='80', SERVER_PROTOCOL='HTTP/1.1', REMOTE_ADDR='h')
    env.update({'wsgi.url_scheme': 'http', 'wsgi.input': io.BytesIO(), 'wsgi.errors': sys.stderr,
                'wsgi.version': (1, 0), 'wsgi.multithread': True, 'wsgi.multiprocess': True,
                'wsgi.run_once': False})
    body = b''.join(app(env, lambda status, headers, info=None: started.append(status)))
    assert started[0].startswith('200') and node.encode() in body, (started, body)
def anonymous():
    with open('/proc/self/smaps_rollup') as rollup:
        return int(re.search(r'Anonymous: +([0-9]+) kB', rollup.read()).group(1)) // 1024
for node in sys.argv[2:]:
    page(node)
    if node == sys.argv[6]:
        before = anonymous()
print(anonymous() - before)
"""


@pytest.mark.slow
def test_memory_of_pages(world, make_server):
    """A page leaves little, in what Mercurial makes of a request, for the next garbage
    collection: nothing of the size of a manifest, which is 1 MB here."""
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    (alice.root / 'many').mkdir()
    for number in range(5000):
        (alice.root / 'many' / f'{number:0180}').touch()
    alice.commit('large')
    base = alice.commit('small')
    alice.hg_fast('phase', '--public', base)
    heads(alice, 45, base, 'draft')
    alice.hg_fast('push', '-q', '-f')
    nodes = alice.log('draft()', '{node}\n')
    grown = subprocess.run(
        [sys.executable, '-c', PAGES, server.root, *nodes],
        env=world.env,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert int(grown.stdout) < 20  # MB, after forty


@pytest.mark.slow
def test_threads_while_public_history_grows(world, make_server):
    server = make_server('embedded')
    url = server.start()
    alice = world.clone(url, 'alice')
    heads(alice, 12, '1', 'draft')
    alice.hg_fast('push', '-q', '-f')
    nodes = alice.log('draft()', '{node}\n')
    described = {node: alice.log(node, '{desc}\n')[0] for node in nodes}
    wrong: list[object] = []
    done = threading.Event()

    def ask(number: int) -> None:
        turn = number
        while not done.is_set() or turn < number + len(nodes):
            node = nodes[turn % len(nodes)]
            turn += 1
            for path in (f'json-rev/{node[:12]}', f'raw-rev/{node}', f'shortlog/{node}'):
                status, body, _headers = fetch(url + path)
                if status != 200 or described[node].encode() not in body:
                    wrong.append((path, status, body))
                elif path.startswith('json') and json.loads(body)['phase'] != 'draft':
                    wrong.append((path, body))

    # With who pushes not more at once than hgweb's socket lets wait.
    askers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    fetch(url + f'json-rev/{nodes[0]}')  # before they load what they need at once
    for asker in askers:
        asker.start()
    bob = world.clone(url, 'bob')
    for number in range(8):
        public = bob.commit(f'grown{number}')
        bob.hg_fast('phase', '--public', '.')
        bob.hg_fast('push', '-q')
        assert fetch_json(url + f'json-rev/{public}')['phase'] == 'public'
        assert fetch_json(url + 'json-rev/tip')['node'] == public
    done.set()
    for asker in askers:
        asker.join()
    assert not wrong, wrong[:3]
    assert server.changesets() == 11
