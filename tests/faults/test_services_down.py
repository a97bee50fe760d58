"""A server whose database or store is down, and one that dies."""

from __future__ import annotations

import html
import os
import re
import socket
import time

import pytest
from helpers.lying import failed_push
from helpers.web import fetch, fetch_page
from helpers.world import BELOW_HGWEBDIR, free_url


@pytest.mark.parametrize(
    ('broken', 'transport'),
    [
        ('database', 'http'),
        ('store', 'ssh'),
        ('credentials', 'http'),
        pytest.param('database', 'ssh', marks=pytest.mark.slow),
        pytest.param('store', 'http', marks=pytest.mark.slow),
        pytest.param('credentials', 'ssh', marks=pytest.mark.slow),
    ],
)
def test_services_down(world, make_server, transport, broken):
    server = make_server('services')
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('a')
    hgrc = server.root / '.hg' / 'hgrc'
    text = hgrc.read_text()
    if broken == 'database':
        text = re.sub(
            'database = .*',
            f'database = postgresql+psycopg2://u:geheim@127.0.0.1:{free_url()[1]}/x',
            text,
        )
    elif broken == 'store':
        text = re.sub(
            's3-endpoint-url = .*', f's3-endpoint-url = http://127.0.0.1:{free_url()[1]}', text
        )
    else:
        world.env['AWS_SECRET_ACCESS_KEY'] = 'wrong'
    hgrc.write_text(text)
    if transport == 'http':
        server.stop()
        alice.hg('paths')
        url = server.start()
        (alice.root / '.hg' / 'hgrc').write_text(f'[paths]\ndefault = {url}\n')
    line = failed_push(server, alice, 'temporary')
    assert 'geheim' not in line
    bob = world.clone(server.url(transport), 'bob')
    assert 'no changes found' in bob.hg_fast('pull') and len(bob.log()) == 3


def test_details_are_not_for_pages(world, make_server):
    """Who pushes, pulls or runs a command is told what the database said; so is the log."""
    server = make_server('services')
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(
            '[extensions]\nblackbox =\n[blackbox]\ntrack = headless\n'
            '[headless]\ndatabase = postgresql+psycopg2://account@none.invalid/name\n'
        )
    url = server.start()
    log = server.root / '.hg' / 'blackbox.log'
    said, private = 'the database is not reachable or too slow', re.compile('none.invalid|account')
    for page in ('json-pushes', 'pushloghtml', f'rev/{"1" * 40}', 'headless-ready'):
        log.unlink(missing_ok=True)
        status, body, headers = fetch(url + page)
        assert status == 503 and not private.search(f'{body!r} {headers}'), (page, body)
        if page != 'headless-ready':
            assert said.encode() in body and private.search(log.read_text()), (page, body)
    for there in (url, server.url('ssh')):
        log.unlink(missing_ok=True)
        out = world.hg('clone', there, 'clone', '-r', '1' * 40, code=255)
        assert f'headless: temporary: {said} (' in out and 'none.invalid' in out
        assert 'event=lookup' in log.read_text()
    assert private.search(server.hg('admin::headless-stats', code=255))


def test_log_of_the_web_server(world, make_server):
    """It has a line for each thing that fails, with what was said, and not one a request."""
    server = make_server('services')
    alice = world.clone(server.url('path'), 'alice')
    tip = alice.commit('a')
    alice.hg_fast('push')
    hgrc = server.root / '.hg' / 'hgrc'
    with open(hgrc, 'a') as appended:
        appended.write('[headless]\ndatabase = postgresql+psycopg2://account@none.invalid/name\n')
    url = server.start()
    for _ in range(2):
        world.hg('identify', '-r', tip, url, code=255)
        assert fetch(f'{url}?cmd=listkeys&namespace=phases')[0] == 200
        assert fetch(f'{url}?cmd=capabilities')[0] == 200  # of public history, for balancers
        for page in ('headless-ready', 'json-pushes', f'rev/{tip}'):
            assert fetch(url + page)[0] == 503
    [line] = server.errors().splitlines()
    said = 'headless: temporary: the database is not reachable or too slow ('
    assert said in line and 'none.invalid' in line


@pytest.mark.skipif(BELOW_HGWEBDIR, reason='hgwebdir says that there is no such repository')
def test_repository_that_vanishes(world, make_server):
    """One line for all that asks, until it is there again; the process lives."""
    server = make_server('embedded')
    url = server.start()
    alice = world.clone(url, 'alice')
    alice.commit('a')
    for lost in (server.root, server.root / '.hg' / 'store', server.root / '.hg' / 'headless'):
        assert fetch(url + 'headless-ready')[0] == 200
        with open(server.root / '.hg' / 'error.log') as log:
            log.seek(0, os.SEEK_END)
            lost.rename(world.folder / 'elsewhere')
            time.sleep(1)  # an answer is kept for so long
            assert fetch(url + 'headless-health')[0] == 200
            for page in ('headless-ready', 'json-pushes', f'rev/{"1" * 40}'):
                code, body, _headers = fetch(url + page)
                assert code == 503 and str(world.folder).encode() not in body, (lost, page, body)
            is_served = lost.name == 'headless'  # public history, without a database
            assert fetch(f'{url}?cmd=capabilities')[0] == (200 if is_served else 503)
            out = alice.hg_fast('push', code=255)
            assert re.search('headless: (temporary|misconfigured): ', out), out
            (world.folder / 'elsewhere').rename(lost)
            assert str(lost) in log.read()
        time.sleep(1)
    assert fetch(url + 'headless-ready')[0] == 200
    assert 'as push 1' in alice.hg_fast('push')


@pytest.mark.slow
@pytest.mark.parametrize('slow', ['database', 'store'])
def test_services_that_hang(world, make_server, slow):
    server = make_server('services')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen(20)
        port = silent.getsockname()[1]
        hgrc = server.root / '.hg' / 'hgrc'
        text = hgrc.read_text()
        if slow == 'database':
            text = re.sub(
                'database = .*', f'database = postgresql+psycopg2://u@127.0.0.1:{port}/x', text
            )
        else:
            text = re.sub(
                's3-endpoint-url = .*', f's3-endpoint-url = http://127.0.0.1:{port}', text
            )
        hgrc.write_text(text)
        failed_push(server, alice, 'temporary')


def test_page_of_a_push_whose_store_is_down(world, make_server):
    """All that the database knows, and a sentence in place of the diff."""
    server = make_server('services')
    alice = world.clone(server.url('ssh'), 'alice')
    node = alice.commit('a')
    alice.hg('push')
    hgrc = server.root / '.hg' / 'hgrc'
    nobody, _port = free_url()
    text = re.sub('s3-endpoint-url = .*', f's3-endpoint-url = {nobody}', hgrc.read_text())
    hgrc.write_text(text)
    base = server.start()
    for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
        page = html.unescape(fetch_page(f'{base}push/1?style={style}'))
        assert f'>{node[:12]}<' in page and '<details class="pushlogdiff"' not in page
        (said,) = re.findall('There is no diff now: (.*?)</p>', page)
        assert said.endswith('temporary: the store is not reachable or too slow; try again later')
    for path in ('raw-push/1', f'rev/{node}'):
        assert 'headless: temporary: the store is not' in fetch_page(base + path, 503)


def test_lost_object(world, make_server):
    """A promise is not made for an object that is not there."""
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    tip = alice.commit('a')
    alice.hg_fast('push')
    for path in (server.root / '.hg' / 'headless' / 'store').rglob('*.hg'):
        path.unlink()
    bob = world.clone(server.url('http'), 'bob')
    out = bob.hg_fast('pull', '-r', tip, code=255)
    assert 'headless: corrupt' in out
    assert bob.log('draft()') == []
    page = fetch_page(server.url('http') + 'push/1')
    assert re.search('There is no diff now: headless: corrupt: .*Ask those who run', page)


def test_lost_object_is_stored_again(world, make_server):
    """What is acknowledged exists, also if it had been pushed before."""
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    alice.commit('a')
    alice.hg('push')
    tip = alice.commit('b')
    alice.hg('push')
    folder = server.root / '.hg' / 'headless' / 'store'
    lost = set(folder.rglob('*.hg'))
    for path in lost:
        path.unlink()
    assert 'pushed before' in alice.hg('push')
    assert len(set(folder.rglob('*.hg'))) == 1  # the head's
    bob = world.clone(server.url('http'), 'bob', '-r', tip)
    bob.verified()
    assert len(bob.log('draft()')) == 2
    assert server.sql('SELECT count(*) FROM push_changesets') == [(2,)]
    # Another head, and one that is still there.
    alice.hg('update', '-q', '0')
    alice.commit('c')
    before = set(folder.rglob('*.hg'))
    assert 'as push 3' in alice.hg('push', '-f')
    (new,) = set(folder.rglob('*.hg')) - before
    new.unlink()
    alice.hg('push', '-f')
    assert set(folder.rglob('*.hg')) == before | {new}


def test_killed_server(world, make_server):
    """A push whose server dies leaves what it was; the next one succeeds."""
    server = make_server('embedded')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[hooks]\npretxnchangegroup.die = kill -9 $PPID\n')
    alice.hg_fast('push', code=255)
    server.configure('')
    assert server.changesets() == 3
    assert 'no interrupted transaction available' in server.hg_fast('recover', code=1)
    assert 'as push 1' in alice.hg_fast('push')


_DYING = """
import os

def reposetup(ui, repo):
    class dying(repo.__class__):
        def transaction(self, *args, **kwargs):
            made = super().transaction(*args, **kwargs)
            made.{when}(b'zz', lambda tr: os.kill(os.getpid(), 9))
            return made

    if repo.local():
        repo.__class__ = dying
"""


def test_killed_before_its_transaction_ends(world, make_server):
    """What is there then can be rolled back: no push is recorded that would lose its changesets."""
    server = make_server('embedded')
    alice = world.clone(server.url('ssh'), 'alice')
    public = alice.publish('public')
    (world.folder / 'die.py').write_text(_DYING.format(when='addfinalize'))
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[extensions]\ndie = {world.folder}/die.py\n')
    alice.hg_fast('push', code=255)
    server.configure('')
    assert server.changesets() == 4
    alice.hg_fast('update', '0')
    alice.commit('draft')
    assert 'as push 1' in alice.hg_fast('push', '-f', '-r', '.')
    alice.hg_fast('phase', '--public', '.')
    out = alice.hg_fast('push', '-f', '-r', '.', code=255)
    assert 'headless: temporary: what a process that was killed had added here' in out
    assert server.changesets() == 3
    assert 'published 1 draft' in alice.hg_fast('push', '-f', '-r', '.', code=None)
    alice.commit('another')
    assert 'as push 2' in alice.hg_fast('push', '-f', '-r', '.')
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')
    assert 'as push 3' in alice.hg_fast('push', '-f', '-r', public)


def test_what_was_written_in_part(world, make_server):
    """A disk was full: the revisions that are there do not fit, and are no fault of the push."""
    server = make_server('embedded')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.publish('public')
    (world.folder / 'die.py').write_text(_DYING.format(when='addvalidator'))  # before the changelog
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[extensions]\ndie = {world.folder}/die.py\n')
    alice.hg_fast('push', code=255)
    server.configure('')
    written = server.root / '.hg' / 'store' / 'data' / 'public.i'
    os.truncate(written, written.stat().st_size - 1)
    out = server.hg_fast('admin::headless-doctor', code=None)
    assert 'warning: repository: a transaction was interrupted' in out
    out = alice.hg_fast('push', code=255)
    assert 'headless: temporary: what a process that was killed had added here' in out
    assert 'as push 1' in alice.hg_fast('push')
    server.verified()
    assert 'interrupted' not in server.hg_fast('admin::headless-doctor', code=None)
