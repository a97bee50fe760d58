"""The site's hooks run as with stock hg: each once, in its order, told the same."""

from __future__ import annotations

import re

import pytest
from helpers.world import Server

#: What a push runs.
HOOKS = (
    'prechangegroup',
    'pretxnchangegroup',
    'prepushkey',
    'pushkey',
    'changegroup',
    'incoming',
    'pretxnopen',
    'pretxnclose-bookmark',
    'pretxnclose-phase',
    'pretxnclose',
    'txnclose-bookmark',
    'txnclose-phase',
    'txnclose',
    'txnabort',
)
#: Where stock's transaction is pending, there is a quarantine.
PENDING = re.compile(r'HG_(PENDING|HEADLESS_QUARANTINE|HEADLESS_PUBLIC)=\S+ ?')


def push_beside_stock(world, transport, kind):
    """(type, variables) of each hook of a push to stock, and of the same to ours."""
    found = []
    for name in ('stock', 'ours'):
        out = world.folder / f'{name}.out'
        hooks = ''.join(
            f'{hook} = (echo; echo {hook}; env | grep ^HG_ | sort) >> {out}\n'
            for hook in HOOKS
        )
        server = Server(world, name, extensions=('push', 'web') if name == 'ours' else ())
        server.configure(
            '', f'[push]\npushvars.server = yes\n[phases]\npublish = no\n[hooks]\n{hooks}'
        )
        if name == 'stock':
            hgrc = server.root / '.hg' / 'hgrc'
            hgrc.write_text(hgrc.read_text().replace('[headless]\nrepository = try\n', ''))
        try:
            clone = world.clone(server.url(transport), f'{name}-{transport}')
            clone.commit('a', None, '-d', '0 0')
            if kind != 'draft':
                clone.hg_fast('phase', '--public', '.')
            if kind != 'public':
                clone.commit('b', None, '-d', '0 0')
            clone.hg_fast('bookmark', 'mark')
            clone.hg_fast('push', '-B', 'mark', '--pushvars', 'WHY=test')
        finally:
            server.stop()
        text = re.sub('TXN:[0-9a-f]+', 'TXN', out.read_text().replace(str(server.root), 'ROOT'))
        blocks = (block.split('\n', 1) for block in text.strip().split('\n\n'))
        found.append([(hook, variables.replace('\n', ' ') + ' ') for hook, variables in blocks])
    return found


@pytest.mark.parametrize('kind', ['mixed', 'draft', pytest.param('public', marks=pytest.mark.slow)])
def test_like_stock(world, transport, kind):
    stock, ours = (
        [(hook, PENDING.sub('', text)) for hook, text in found]
        for found in push_beside_stock(world, transport, kind)
    )
    assert [hook for hook, _text in ours] == [hook for hook, _text in stock]
    assert ours == stock


def test_bookmark_that_a_hook_refuses(world, make_server, transport):
    server = make_server('embedded')
    server.configure('', '[hooks]\nprepushkey = test $HG_KEY != bad\n')
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('a')
    alice.hg_fast('bookmark', 'bad')
    out = alice.hg_fast('push', '-B', 'bad', code=255)
    assert 'prepushkey hook exited with status 1' in out
    assert server.sql('SELECT count(*) FROM pushes') == [(0,)]
    alice.hg_fast('bookmark', '-m', 'bad', 'good')
    alice.hg_fast('push', '-B', 'good')
    # Alone, and as an old client sends it.
    alice.hg_fast('bookmark', 'bad')
    out = alice.hg_fast('push', '-B', 'bad', code=255)
    assert 'prepushkey' in out
    legacy = ('--config', 'devel.legacy.exchange=bookmarks')
    out = alice.hg_fast('push', '-B', 'bad', *legacy, code=255)
    assert 'prepushkey' in out
    assert server.sql('SELECT count(*) FROM bookmarks') == [(1,)]
