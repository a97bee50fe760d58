"""Every setting is documented; without settings, a repository is stock's."""

from __future__ import annotations

import re

import pytest
from helpers.documents import ROOT


def test_hgrc_example_shows_every_item():
    from hgext_headless import config

    text = (ROOT / 'hgrc.example').read_text().partition('[headless]')[2]
    text = text.partition('[headless-links]')[0]
    shown = dict(re.findall(r'^#?([a-z0-9-]+) = (.*)$', text, re.M))
    assert set(shown) == {item.decode() for item, _default in config.ITEMS}
    for item, default in config.ITEMS:
        if default not in (None, []):
            if isinstance(default, list):
                default = b', '.join(default)
            text_of = default.decode() if isinstance(default, bytes) else str(default)
            assert shown[item.decode()] == text_of


def test_help(world, make_server):
    from hgext_headless import config

    server = make_server('embedded')
    assert 'Headless Repositories' in server.hg_fast('help', 'headless')
    text = server.hg_fast('help', 'config.headless')
    for item, _default in config.ITEMS:
        assert f'"{item.decode()}"' in text
    for section, field in (('links', '{reviewer}'), ('announce', ':secret')):
        assert field in server.hg_fast('help', f'config.headless-{section}')
    assert 'headless-init' in server.hg_fast('help', 'admin::headless-init')


@pytest.mark.parametrize('extensions', [('push', 'web'), ('web', 'push'), ('push',), ('web',)])
def test_no_warnings(world, make_server, extensions):
    server = make_server('embedded', extensions=extensions)
    warnings = ('--config', 'devel.all-warnings=yes')
    assert server.hg_fast('log', '-r', 'null', '-T', 'x', *warnings) == 'x'


@pytest.mark.slow
def test_ordinary_repository(world):
    """With the extensions loaded for all, a repository without settings is stock's."""
    with open(world.env['HGRCPATH'], 'a') as hgrc:
        hgrc.write('[extensions]\nhgext_headless.push =\nhgext_headless.web =\n')
    server = world.init('server')
    server.commit('a')
    server.hg_fast('phase', '--public', '.')
    alice = world.clone(str(server.root), 'alice')
    (server.root / '.hg' / 'hgrc').write_text('[phases]\npublish = no\n')
    tip = alice.commit('b')
    alice.hg_fast('push')
    assert server.log('tip') == [f'{tip} draft']
    assert 'no changes found' in alice.hg_fast('push', code=1)
    assert not (server.root / '.hg' / 'headless').exists()
    assert 'no [headless] settings' in server.hg_fast('admin::headless-init', code=255)


def test_removed_settings(world, make_server):
    """They are told of once, and not to clients; pushes go on."""
    server = make_server('embedded', 'metrics-dir = /nowhere\n')
    lines = server.hg_fast('admin::headless-doctor', code=None).splitlines()
    [line] = [line for line in lines if 'metrics-dir' in line]
    assert line.startswith('warning: headless.metrics-dir was removed: ')
    clone = world.clone(server.url('ssh'), 'clone')
    clone.commit('draft')
    assert 'was removed' not in clone.hg_fast('push')
    server.configure('metrics-dir =\n')
    assert 'metrics-dir' not in server.hg_fast('admin::headless-stats')


def test_removed_guards(world, make_server):
    """What was closed by a setting that is gone stays closed."""
    server = make_server('embedded')
    clone = world.clone(server.url('ssh'), 'clone')
    clone.commit('draft')
    store = server.root / '.hg' / 'headless' / 'store'
    stored = list(store.rglob('*'))
    server.configure('s3-kms-key = some-key\n')
    refusal = 'headless: misconfigured: headless.s3-kms-key was removed: make the key the default'
    for out in (
        server.hg('admin::headless-stats', code=255),
        clone.hg('push', server.url('ssh'), code=255),
    ):
        assert refusal in out
    assert list(store.rglob('*')) == stored
