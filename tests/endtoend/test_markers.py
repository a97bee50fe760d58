"""Obsolescence markers of drafts, with stock clients."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest
import sqlalchemy
from helpers.web import fetch_json, fetch_page
from helpers.world import Clone, Server, World

from hgext_headless.catalog import catalog, engine, markers as stored, schema

ALL = '[experimental]\nevolution = all\n'
EXCHANGE = '[experimental]\nevolution = createmarkers, exchange\n'


@pytest.fixture
def evolving(world: World, make_server):
    """A server and a client that exchange markers, and the server's address."""
    with open(world.env['HGRCPATH'], 'a') as hgrc:
        hgrc.write(ALL)

    def make(backend: str, transport: str = 'path') -> tuple[Server, str, Clone]:
        server = make_server(backend)
        with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
            hgrc.write(EXCHANGE)
        url = server.url(transport)
        return server, url, world.clone(url, 'alice')

    return make


def amended(clone: Clone, message: str = 'amended') -> str:
    clone.hg_fast('commit', '-q', '--amend', '-m', message)
    return clone.node()


def markers(clone: Clone) -> list[str]:
    """Each as its predecessor and its successors."""
    return sorted(re.findall(r'^((?:[0-9a-f]{40} )+)', clone.hg('debugobsolete'), re.M))


def obsstore(server: Server) -> int:
    path = server.root / '.hg' / 'store' / 'obsstore'
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize(
    'backend, transport',
    [('services', 'http'), pytest.param('embedded', 'ssh', marks=pytest.mark.slow)],
)
def test_amended_draft(world, evolving, backend, transport):
    """Somebody who has the old changeset gets the new one, and the old one is hidden."""
    server, url, alice = evolving(backend, transport)
    bob = world.clone(url, 'bob')
    first = alice.commit('a')
    alice.hg_fast('push', '-q', '-r', '.')
    bob.hg_fast('pull', '-q', '-r', first)
    second = amended(alice)
    third = amended(alice, 'again')
    out = alice.hg_fast('push', '-f', '-r', '.')
    assert '2 new obsolescence markers' in out
    assert 'headless: stored 1 changeset' in out
    chain = sorted([f'{first} {second} ', f'{second} {third} '])
    assert markers(alice) == chain

    assert '2 new obsolescence markers' in bob.hg_fast('pull', '-r', third)
    assert bob.log('draft()') == [f'{third} draft']
    assert markers(bob) == chain
    assert obsstore(server) == 0
    assert server.changesets() == 3

    # Who does not ask gets none; nor does anybody of public history.
    carol = world.clone(url, 'carol', '-r', third, '--config', 'experimental.evolution=')
    assert markers(carol) == []
    assert markers(world.clone(url, 'dave')) == []


@pytest.mark.slow
def test_markers_alone(world, evolving):
    """A marker that comes with no changeset takes no lock and is not stored twice."""
    server, url, alice = evolving('embedded')
    first = alice.commit('a')
    old = alice.commit('b')
    alice.hg_fast('push', '-q')
    alice.hg_fast('update', '-q', first)
    other = alice.commit('c')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    alice.hg('debugobsolete', old, other)
    lock = server.root / '.hg' / 'store' / 'lock'
    lock.symlink_to('elsewhere:1')
    timeout = ('--config', 'ui.timeout=1')
    assert '1 new obsolescence markers' in alice.hg_fast('push', '-r', '.', *timeout)
    assert 'new obsolescence' not in alice.hg_fast('push', '-r', '.', *timeout)
    bob = world.clone(url, 'bob', '-r', other)
    assert markers(bob) == markers(alice) != []
    lock.unlink()
    assert obsstore(server) == 0


@pytest.mark.slow
def test_pruned_draft(world, evolving):
    """A pruned changeset goes where its parent is."""
    server, url, alice = evolving('embedded')
    bob = world.clone(url, 'bob')
    base = alice.commit('a')
    pruned = alice.commit('b')
    alice.hg_fast('push', '-q')
    bob.hg_fast('pull', '-q', '-r', pruned)
    alice.hg('debugobsolete', '--record-parents', pruned)
    alice.hg_fast('update', '-q', base)
    assert '1 new obsolescence markers' in alice.hg_fast('push')
    assert obsstore(server) == 0
    bob.hg_fast('pull', '-q', '-r', base)
    assert bob.log('draft()') == [f'{base} draft']
    # That parent is public now: everyone who pulls public history gets it.
    alice.hg_fast('update', '-q', 'last(public())')
    alice.hg('debugobsolete', '--record-parents', base)
    alice.hg_fast('push', '-q', code=1)
    assert obsstore(server) > 0
    bob.hg_fast('pull', '-q')
    assert bob.log('draft()') == []


@pytest.mark.slow
def test_draft_becomes_public(world, evolving):
    """Its markers go with it into the repository, those of others do not."""
    server, url, alice = evolving('services', 'ssh')
    first = alice.commit('a')
    second = amended(alice)
    third = amended(alice, 'again')
    alice.hg_fast('push', '-q')
    alice.hg_fast('update', '-q', 'last(public())')
    alice.commit('other')
    amended(alice)
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    assert obsstore(server) == 0
    # Somebody who has no markers publishes it.
    bob = world.clone(url, 'bob', '-r', third, '--config', 'experimental.evolution=')
    bob.hg_fast('phase', '--public', third)
    bob.hg_fast('push', '-q', '--config', 'experimental.evolution=')
    assert server.log('tip') == [f'{third} public']
    chain = sorted([f'{first} {second} ', f'{second} {third} '])
    assert markers(server) == chain
    assert markers(world.clone(url, 'carol')) == chain


def test_pushlog(world, evolving):
    _server, url, alice = evolving('services', 'http')
    first = alice.commit('a')
    alice.hg_fast('push', '-q')
    second = amended(alice)
    alice.hg_fast('push', '-q', '-f', '-r', '.')

    def pushes(query: str = '') -> dict:
        with urllib.request.urlopen(f'{url}json-pushes?{query}') as answer:
            return json.load(answer)

    assert [(p['changesets'], p.get('obsoletechangesets')) for p in pushes().values()] == [
        ([], [first]),
        ([second], None),
    ]
    old, new = pushes('full=1').values()
    assert [c['node'] for c in old['obsoletechangesets']] == [first]
    assert [(c['node'], c['precursors']) for c in new['changesets']] == [(second, [first])]


@pytest.mark.slow
def test_forget(world, evolving):
    """Markers of a changeset that is gone; others stay, and can come again."""
    server, url, alice = evolving('embedded')
    first = alice.commit('a')
    left = amended(alice)
    alice.hg_fast('update', '-q', '.^')
    right = alice.commit('c')
    alice.hg('debugobsolete', first, right)
    alice.hg('debugobsolete', first, left, right)
    alice.hg_fast('push', '-q', '-f', '-r', f'{left}+{right}')
    database = f'sqlite:///{server.root}/.hg/headless/catalog.sqlite'
    opened = catalog.open_catalog(database, 'try', None, engine.DEFAULT_OPTIONS)
    with_both, with_right = f'{first} {left} {right} ', f'{first} {right} '

    def forget(node: str) -> int:
        """Returns how many markers are left."""

        def change(session) -> int:
            stored.forget(session, [bytes.fromhex(node)])
            return session.scalar(
                sqlalchemy.select(sqlalchemy.func.count()).select_from(schema.markers)
            )

        return opened.write(change)

    assert forget(left) == 2
    assert markers(world.clone(url, 'bob', '-r', left)) == []
    alice.hg_fast('push', '-q', '-r', left)
    assert len(markers(world.clone(url, 'carol', '-r', left))) == 2
    assert forget(left) == 2
    found = markers(world.clone(url, 'dave', '-r', right))
    assert sorted(found) == sorted([with_both, with_right])
    assert forget(right) == 0


def test_pages_say_what_became_of_a_draft(world, evolving):
    """Whether a draft or a public changeset replaced it; what was never pushed is left out."""
    server, url, alice = evolving('embedded')
    first = alice.commit('a')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    alice.hg('commit', '-q', '--amend', '-m', 'not pushed', '-u', 'A <b>')
    second = amended(alice)
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    pruned = alice.commit('pruned')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    alice.hg('debugobsolete', '--record-parents', pruned, '-u', '<i>Ann</i>')
    alice.hg_fast('update', '-q', second)
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    url = server.start()

    def facts(node: str) -> tuple[bool, list[str]]:
        found = fetch_json(f'{url}json-rev/{node}')
        return found['obsolete'], found['replacedby']

    def row(page: str, node: str) -> str:
        return re.search(rf'<li [^>]*><a [^>]*title="{node}.*?</li>', page, re.S).group()

    assert facts(first) == (True, [second])
    assert facts(second) == (False, [])
    assert fetch_json(f'{url}json-rev/{second}')['replaces'] == [first]
    assert facts(pruned) == (True, [])
    for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
        page = fetch_page(f'{url}rev/{first}?style={style}')
        text = ' '.join(re.sub('<[^>]*>', ' ', page).split())
        assert re.search(f'obsolete:? rewritten using amend as {second[:12]} by ', text), text
        assert f'<a href="/rev/{second[:12]}?style={style}">' in page.replace('class="list" ', '')
        page = fetch_page(f'{url}rev/{pruned}?style={style}')
        assert 'pruned by &lt;i&gt;Ann' in page or 'pruned by &#60;' in page
        assert '<i>' not in page
        page = fetch_page(f'{url}rev/{second}?style={style}')
        assert 'pruned' not in page
        text = ' '.join(re.sub('<[^>]*>', ' ', page).split())
        assert re.search(f'replaces ?:? {first[:12]} ', text), text
        page = fetch_page(f'{url}pushloghtml?style={style}')
        assert f'replaced by <a href="/rev/{second[:12]}' in row(page, first)
        assert 'replace' not in row(page, second)
        assert re.search(
            'obsolete</span> <span class="pushlogreplaced">pruned</span>', row(page, pruned)
        )
        page = fetch_page(f'{url}push/2?style={style}')
        assert f'>replaces <a href="/rev/{first[:12]}' in row(page, second)

    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push', '-q')
    assert facts(first) == (True, [second])
    assert f'replaced by <a href="/rev/{second[:12]}' in row(fetch_page(url + 'push/1'), first)

    torn = alice.commit('torn')
    alice.hg_fast('update', '-q', second)
    twin = alice.commit('twin')
    alice.hg_fast('push', '-q', '-f', '-r', torn, '-r', twin)
    page = fetch_page(f'{url}push/4')
    heads = r'The files and diffs here are those of (\w{12}) only; there are also <[^>]*>(\w{12})<'
    said = re.search(heads, page)
    assert sorted(said.groups()) == sorted([torn[:12], twin[:12]])
    assert said.start() < page.index('>raw diff<')
    alice.hg_fast('update', '-q', second)
    one, other = alice.commit('one'), alice.commit('other')
    for markers in ((torn, one, other), (twin, one), (twin, other)):
        alice.hg('debugobsolete', *markers)
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    page = re.sub(
        '<(?!/?li|a )[^>]*>|<a (?!class="pushlognode")[^>]*>', '', fetch_page(f'{url}push/4')
    )
    assert f'split into {one[:12]}, {other[:12]}' in row(page, torn)
    by = [f'replaced by {node[:12]}' for node in (one, other)]
    assert ', '.join(by) in row(page, twin) or ', '.join(by[::-1]) in row(page, twin)
