"""Pulls of drafts beside what else a server or a client may have set for ``getbundle``."""

from __future__ import annotations

import pytest
from helpers.web import fetch


@pytest.mark.parametrize('transport', ['http', pytest.param('ssh', marks=pytest.mark.slow)])
def test_pullbundle(world, make_server, transport):
    """Before it makes a bundle, stock looks all heads up in the repository."""
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    node = alice.commit('a')
    alice.hg('push', '-q')
    public = server.log('tip', '{node}')[0]
    server.hg('bundle', '-q', '--base', 'null', '-r', public, '-t', 'gzip-v2', '.hg/public.hg')
    manifest = server.root / '.hg' / 'pullbundles.manifest'
    manifest.write_text(f'public.hg BUNDLESPEC=gzip-v2 heads={public}\n')
    bob = world.init('bob')
    bob.hg('pull', '-q', '-r', node, server.url(transport))
    assert bob.log('head()') == [f'{node} draft']
    bob.verified()


@pytest.mark.slow
@pytest.mark.parametrize('settings', ['inline = always\n', ''])
def test_shallow_clone(world, make_server, settings):
    """By link as inline, what the server has not for later comes at once."""
    shallow_server = '[remotefilelog]\nserver = True\n[extensions]\nremotefilelog =\n'
    server = make_server('embedded', settings + shallow_server)
    with open(world.env['HGRCPATH'], 'a') as hgrc:
        hgrc.write(f'[remotefilelog]\nreponame = try\ncachepath = {world.folder}/cache\n')
    url = server.start() if not settings else server.url('ssh')
    alice = world.clone(server.start(), 'alice')
    alice.commit('public0', 'changed')
    node = alice.commit('new')
    alice.hg('push', '-q')
    shallow = ('--config', 'extensions.remotefilelog=')
    bob = world.folder / 'bob'
    world.hg('clone', '-q', '--shallow', url, bob, *shallow)
    assert node[:12] in world.hg('incoming', '-R', bob, '-r', node, *shallow)
    world.hg('pull', '-q', '-R', bob, '-r', node, *shallow)
    world.hg('update', '-q', '-R', bob, '-r', node, *shallow)
    assert (bob / 'public0').read_text() == 'changed'
    assert (bob / 'new').read_text() == 'new'
    assert (bob / 'public1').read_text() == 'public1'


def test_heads_that_one_request_names(world, make_server):
    """All changesets of a stack are in one bundle; and there is a limit."""
    server = make_server('embedded')
    url = server.start()
    alice = world.clone(url, 'alice')
    nodes = []
    for name in 'abc':
        nodes.append(alice.commit(name))
        alice.hg('push', '-q')
    bob = world.clone(url, 'bob')
    bob.hg('pull', '-q', *(arg for node in nodes for arg in ('-r', node)))
    assert bob.log('draft()', '{node}\n') == nodes
    named = '+'.join(f'{number:040x}' for number in range(1, 1002))
    status, body, _headers = fetch(f'{url}?cmd=getbundle', **{'X-HgArg-1': f'heads={named}'})
    assert status == 200
    assert b'one request can name 1000 drafts, and not 1001' in body
