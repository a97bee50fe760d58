"""A push next to others, with a site's hooks, and with bookmarks."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess

import pytest
from conftest import EITHER
from helpers.embedded import objects
from helpers.many_drafts import stack
from helpers.world import HG, Clone, unrequire


def test_drafts_take_no_lock(world, make_server, transport):
    server = make_server('embedded', settings='[ui]\ntimeout = 1\n')
    unrequire(server.root)  # nor the one that marks a repository of before
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('a')
    lock = server.root / '.hg' / 'store' / 'lock'
    os.symlink(f'{socket.gethostname()}:{os.getpid()}', lock)
    try:
        assert 'as push 1' in alice.hg_fast('push')
        alice.hg_fast('phase', '--public', '.')
        out = alice.hg_fast('push', code=255)  # public changesets do wait for it
        assert 'lock' in out
        assert server.changesets() == 3
    finally:
        lock.unlink()


@pytest.mark.slow
@pytest.mark.parametrize('backend', EITHER)
def test_ten_pushes_at_once(world, make_server, backend):
    """To two processes: the socket of one lets five wait."""
    server = make_server(backend)
    urls = (server.start_another(), server.start_another())
    first = world.clone(urls[0], 'first')
    clones = []
    for number in range(10):
        clone = Clone(world, world.folder / f'clone{number}')
        shutil.copytree(first.root, clone.root)
        clone.commit(f'f{number}')
        clones.append(clone)
    running = [
        subprocess.Popen(
            [HG, 'push', urls[number % 2]],
            cwd=clone.root,
            env=world.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, clone in enumerate(clones)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    ids = [int(i) for out in outputs for i in re.findall(r'as push (\d+)', out)]
    assert sorted(ids) == list(range(1, 11)), [out for out in outputs if 'as push' not in out]
    assert server.changesets() == 3
    for clone in clones:
        first.hg_fast('identify', '-r', clone.node(), urls[0])


@pytest.mark.slow
def test_site_hooks_see_the_whole_push(world, make_server, transport):
    server = make_server('embedded')
    (world.folder / 'sitehook.py').write_text(
        'def seen(ui, repo, node, node_last, **kwargs):\n'
        f"    with open({str(world.folder / 'python.out')!r}, 'ab') as out:\n"
        "        out.write(b''.join(b'%s\\n' % c.hex() for c in repo.set(b'%s:', node)))\n"
    )
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(
            '[hooks]\n'
            f'pretxnchangegroup.shell = {HG} log -r $HG_NODE: -T "{{node}}\\n" '
            f'>> {world.folder}/shell.out\n'
            f'pretxnchangegroup.python = python:{world.folder}/sitehook.py:seen\n'
        )
    assert 'pretxnchangegroup.headless' in server.hg_fast('config', 'hooks')
    alice = world.clone(server.url(transport), 'alice')
    public = alice.commit('public3')
    alice.hg_fast('phase', '--public', '.')
    nodes = [public, alice.commit('a'), alice.commit('b')]
    alice.hg_fast('push')
    assert (world.folder / 'shell.out').read_text().split() == nodes
    assert (world.folder / 'python.out').read_text().split() == nodes


def test_failing_hook_leaves_nothing(world, make_server, transport):
    server = make_server('embedded')
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[hooks]\npretxnchangegroup.no = false\n')
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('public3')
    alice.hg_fast('phase', '--public', '.')
    tip = alice.commit('a')
    out = alice.hg_fast('push', code=255)
    assert 'pretxnchangegroup.no hook' in out
    assert server.changesets() == 3
    assert objects(server) == []
    out = alice.hg_fast('identify', '-r', tip, server.url(transport), code=255)
    assert 'unknown revision' in out
    assert alice.log('draft()') == [f'{tip} draft']


def test_bookmark_of_a_draft(world, make_server, transport):
    server = make_server('embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    tip = alice.commit('a')
    alice.hg_fast('bookmark', 'mine')
    alice.hg_fast('push', '-B', 'mine')
    assert server.hg_fast('bookmarks').startswith('no bookmarks')
    bob = world.clone(url, 'bob')
    bob.hg_fast('pull', '-q', '-r', 'mine')
    assert bob.log('draft()') == [f'{tip} draft']


BUNDLE1 = ('--config', 'devel.legacy.exchange=bundle1')


def test_bundle1(world, make_server, transport):
    """A bare changegroup: drafts stay drafts, and phases come as keys after it."""
    server = make_server('embedded')
    alice = world.clone(server.url(transport), 'alice')
    nodes = [alice.commit('a'), alice.commit('b')]
    out = alice.hg_fast('push', *BUNDLE1)
    assert 'headless: stored 2 changesets as push 1' in out
    assert server.changesets() == 3
    assert alice.log('draft()', '{node}\n') == nodes
    bob = world.clone(server.url(transport), 'bob', '-r', nodes[1])
    bob.verified()
    assert bob.log('draft()', '{node}\n') == nodes
    alice.hg_fast('phase', '--public', nodes[0])
    assert 'pushed before' in alice.hg_fast('push', *BUNDLE1)
    assert server.log('tip') == [f'{nodes[0]} public']
    assert alice.log('draft()', '{node}\n') == nodes[1:]


def test_bundle1_that_is_refused(world, make_server, transport):
    """The client is told why, in words that it understands."""
    server = make_server('embedded', 'max-push-size = 1 MB\n')
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[hooks]\npretxnchangegroup.no = echo said by the hook; false\n')
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('a')
    code = 255 if transport == 'path' else 1  # stock's, where an "unbundle" fails
    out = alice.hg_fast('push', *BUNDLE1, code=code)
    assert 'said by the hook' in out and 'pretxnchangegroup.no hook exited with status 1' in out
    alice.commit('b', b'0' * 2_000_000)
    out = alice.hg_fast('push', *BUNDLE1, code=code)
    assert out.count('headless: refused: the push has more than headless.max-push-size') == 1
    assert server.changesets() == 3 and objects(server) == []


@pytest.mark.slow
def test_what_is_sent_again_costs_little(world, make_server):
    """Many stored changesets and one more: one bundle, one row, one object."""
    server = make_server('embedded')
    url = server.url('http')
    alice = world.clone(url, 'alice')
    stack(alice, 200)
    alice.hg_fast('push')
    before = counts(server)
    assert 'all changesets had been pushed before' in alice.hg_fast('push')
    assert counts(server) == before
    alice.hg_fast('update', '-q')
    tip = alice.commit('one more')
    assert 'stored 1 changeset as push 2' in alice.hg_fast('push')
    grown = {table: number - before[table] for table, number in counts(server).items()}
    assert grown == {'objects': 1, 'bundles': 1, 'changesets': 1, 'pushes': 1}
    bob = world.clone(url, 'bob', '-r', tip)
    bob.verified()
    assert len(bob.log('draft()')) == 201


def counts(server) -> dict[str, int]:
    tables = ('bundles', 'changesets', 'pushes')
    rows = {table: server.sql(f'SELECT count(*) FROM {table}')[0][0] for table in tables}
    return {'objects': len(objects(server)), **rows}


def test_incoming_hooks_run_for_what_is_new(world, make_server, transport):
    """What a client sends again has come before."""
    server = make_server('embedded')
    seen = world.folder / 'incoming.out'
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[hooks]\nincoming.seen = echo $HG_NODE >> {seen}\n')
    alice = world.clone(server.url(transport), 'alice')
    nodes = []
    for name in 'abc':
        nodes.append(alice.commit(name))
        alice.hg_fast('push')
        alice.hg_fast('push')
    assert seen.read_text().split() == nodes
