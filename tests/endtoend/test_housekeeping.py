"""An operator's house: verify, expire, forget, gc."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import EITHER
from helpers.embedded import make_old, objects, store_of
from helpers.fleet import sql
from helpers.web import fetch, fetch_json, fetch_page
from helpers.world import HG, Server


def known(server: Server, clone, *nodes: str) -> list[bool]:
    """Which the server has, as a stock client asks."""
    found = [clone.hg('identify', '-r', node, str(server.root), code=None) for node in nodes]
    assert all(one.code == 0 or 'unknown revision' in one for one in found), found
    return [one.code == 0 for one in found]


@pytest.mark.slow
def test_a_client_is_told_what_became_of_a_draft(embedded):
    """As the page of the draft tells it."""
    server, alice, nodes = embedded
    server.hg_fast('admin::headless-expire', '-r', nodes[3])
    server.hg_fast('admin::headless-obliterate', '--reason', 'secret', nodes[1])
    for node, fate in ((nodes[3], 'expired on 20'), (nodes[1], 'was removed on 20')):
        out = alice.hg_fast('pull', '-r', node[:20], server.url('ssh'), code=255)
        assert f"unknown revision '{node[:20]}': push " in out
        assert f', and it {fate}' in out
    out = alice.hg_fast('pull', '-r', '1' * 40, server.url('ssh'), code=255)
    assert out.endswith(f"unknown revision '{'1' * 40}'\n")


def test_verify_all_is_well(embedded):
    server, alice, _nodes = embedded
    assert '3 bundles and 3 pushes checked, all is well' in server.hg_fast('admin::headless-verify')
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full', '--since', '1d')
    assert json.loads(server.hg_fast('admin::headless-verify', '-Tjson')) == []
    assert 'takes a date' in server.hg_fast('admin::headless-verify', '--since', 'soon', code=255)
    # Mercurial names the branch first where it reads extras.
    alice.hg_fast('commit', '-q', '--amend', '-m', 'again')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')


def test_verify_and_repair(embedded):
    server, alice, (a, b, c, d) = embedded
    # The object of a+b is lost, that of c+d has other bytes of the same number.
    ((lost,), (spoiled,)) = server.sql(
        f"SELECT key FROM bundles WHERE head IN (x'{b}', x'{d}') ORDER BY id"
    )
    (store_of(server) / lost).unlink()
    path = store_of(server) / spoiled
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    server.sql('UPDATE repositories SET last_push_id = 2')
    server.sql('DELETE FROM push_branches WHERE push_id = 1')
    out = server.hg_fast('admin::headless-verify', code=1)
    assert f'object: {lost}: the object is not in the store\n  holds draft {b}\n' in out
    assert 'counter: 2: is below the highest push id, 3' in out
    assert 'branch: default: is not listed for push 1' in out
    assert f'object: {spoiled}: object {spoiled} is not what its name says' in out
    found = json.loads(server.hg_fast('admin::headless-verify', '--full', '-Tjson', code=1))
    assert {(f['kind'], f['repaired']) for f in found} == {
        ('object', False),
        ('counter', False),
        ('branch', False),
    }
    assert sum(f['item'] == spoiled for f in found) == 1
    out = server.hg_fast('admin::headless-verify', '--full', '--repair')
    assert '4 problems, 4 repaired' in out
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')
    # What another bundle holds is still there; the rest can be pushed again.
    assert known(server, alice, a, b, c, d) == [True, False, False, False]
    assert 'as push 4' in alice.hg_fast('push', '-f', '-r', b)
    assert known(server, alice, a, b) == [True, True]
    audit = server.hg_fast('admin::headless-audit')
    assert f'lost {b}  the object is not in the store\n' in audit
    assert f'lost {d}  object {spoiled} is not what was stored\n' in audit


def test_what_was_lost_has_not_expired(embedded):
    """Until it is pushed again, and expires then."""
    server, alice, (_a, b, _c, _d) = embedded
    ((key,),) = server.sql(f"SELECT key FROM bundles WHERE head = x'{b}'")
    (store_of(server) / key).unlink()
    server.hg_fast('admin::headless-verify', '--repair')
    base = server.start()
    for page in (fetch_page(f'{base}pushloghtml'), fetch_page(f'{base}push/2')):
        row = re.search(rf'<li class="pushlog(\w+)"><del[^>]*>{b[:12]}</del>(.*?)</li>', page, re.S)
        assert row and row.group(1) == 'lost' and 'it can be pushed again' in row.group(2)
    page = fetch_page(f'{base}rev/{b}', 410)
    assert ', and it was lost on 20' in page and 'can push it again' in page
    assert 'and it was lost on 20' in alice.hg_fast('pull', '-r', b, base, code=255)
    alice.hg_fast('push', '-f', '-r', b)
    server.sql('UPDATE audit SET date = date - 60')
    server.sql('UPDATE tombstones SET gone = gone - 60')
    server.hg_fast('admin::headless-expire', '--push', '4')
    assert 'and it expired on 20' in fetch_page(f'{base}rev/{b}', 410)
    page = fetch_page(f'{base}pushloghtml')
    states = re.findall(rf'<li class="pushlog(\w+)"><del[^>]*>{b[:12]}</del>', page)
    assert states == ['expired', 'lost']  # each row has the fate of its own push


def test_verify_names_a_draft_that_no_object_has(embedded):
    server, _alice, (a, b, _c, _d) = embedded
    for (key,) in server.sql(f"SELECT key FROM bundles WHERE head IN (x'{a}', x'{b}')"):
        (store_of(server) / key).unlink()
    out = server.hg_fast('admin::headless-verify', code=1)
    assert sorted(re.findall('holds draft ([0-9a-f]+)', out)) == sorted([a, b])


def test_verify_goes_on_past_a_strange_object(embedded):
    """What a store does not give is listed, and never dropped; nor is it the end of the check."""
    server, _alice, _nodes = embedded
    strange, altered, _sound = objects(server)
    strange.unlink()
    strange.symlink_to(strange.name)
    altered.write_bytes(b'x' * altered.stat().st_size)
    for args in [(), ('--full',)]:
        out = server.hg_fast('admin::headless-verify', *args, code=1)
        assert re.search(f'{strange.name}: the file store failed .*: Too many levels', out)
        assert f'{altered.name} is not what ' in out
        assert '2 problems, 0 repaired' in out
    out = server.hg_fast('admin::headless-verify', '--repair', code=1)
    assert '2 problems, 1 repaired' in out
    assert strange.is_symlink()


def test_verify_says_what_it_has_not_looked_at(embedded):
    """A repository that has lost all its rows is not well."""
    server, _alice, _nodes = embedded
    for table in ('bundle_changesets', 'bundles'):
        server.sql(f'DELETE FROM {table}')
    out = server.hg_fast('admin::headless-verify', '--full', code=1)
    assert 'not looked at: 3 objects without a row, younger than 10 minutes' in out
    for path in objects(server):
        os.utime(path, (time.time() - 700, time.time() - 700))
    out = server.hg_fast('admin::headless-verify', '--full', '--repair', code=1)
    assert out.count('no row points at it: run "hg admin::headless-rebuild"') == 3
    assert 'not looked at' not in out
    assert '(repaired)' not in out
    assert 'rebuilt 3 bundles' in server.hg_fast('admin::headless-rebuild')
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')


@pytest.mark.parametrize('backend', ['embedded', 'services'])
def test_public_history_that_was_stripped(world, make_server, backend):
    """The pushlog goes on when it is said to be lost, and lists it again when it is back."""
    server = make_server(backend, f'store = file://{world.folder}/store\n')
    server.hg_fast('admin::headless-init')
    alice = world.clone(server.url('path'), 'alice')
    kept, gone = alice.publish('kept'), alice.publish('gone')
    for node in (kept, gone):
        alice.hg_fast('push', '-q', '-r', node)
    server.hg('--config', 'extensions.strip=', 'strip', '-q', '--no-backup', gone)
    for table in ('public_log', 'public_history') if backend == 'services' else ():
        sql(server, f'DELETE FROM {table}')  # as docs/operating.rst says
    server.hg_fast('admin::headless-init')
    alice.hg_fast('update', '-q', kept)
    after = alice.publish('after')
    alice.hg_fast('push', '-q', '-f', '-r', after)
    url = server.start() + 'json-pushes?full=1'
    assert list(fetch_json(url)) == ['1']
    assert 'push 2 brought it' in server.hg_fast('admin::headless-verify', code=1)
    for path in (world.folder / 'store').rglob('*.hg'):
        os.utime(path, (time.time() - 86400,) * 2)
    out = server.hg_fast('admin::headless-verify', '--repair', code=None)
    assert re.search(f'changeset: {gone}: .* \\(repaired\\)', out)
    assert gone not in server.hg_fast('admin::headless-verify', code=None)
    assert list(fetch_json(url)) == ['1', '2', '3']
    assert gone[:12] in server.hg_fast('admin::headless-audit')
    alice.hg_fast('push', '-q', '-f', '-r', gone)
    server.hg_fast('admin::headless-verify', '--repair', code=None)
    assert gone not in server.hg_fast('admin::headless-verify', code=None)
    listed = [each['node'] for push in fetch_json(url).values() for each in push['changesets']]
    assert gone in listed and after in listed


def test_verify_what_cannot_be_repaired(embedded):
    server, alice, (a, *_rest) = embedded
    alice.hg_fast('phase', '--public', a)
    alice.hg_fast('push', '-q', '-f', '-r', a)
    assert server.changesets() == 4
    assert 'all is well' in server.hg_fast('admin::headless-verify')
    server.hg('--config', 'extensions.strip=', 'strip', '-q', '--no-backup', 'tip')
    server.hg('--config', 'extensions.strip=', 'strip', '-q', '--no-backup', '0')
    server.sql('DELETE FROM push_changesets WHERE push_id = 3')
    server.sql('DELETE FROM push_branches WHERE push_id = 3')
    server.sql('DELETE FROM pushes WHERE push_id = 3')
    orphan = objects(server)[0].parent / ('0' * 64 + '.hg')
    orphan = store_of(server) / 'try' / '00' / orphan.name
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b'x')
    make_old(server)
    out = server.hg_fast('admin::headless-verify', '--repair', code=1)
    assert 'which it builds on, is not in the repository' in out
    assert 'push: 3: there is no push with this id' in out
    assert f'orphan: try/00/{orphan.name}: no row points at it' in out


def test_verify_finds_a_row_that_names_other_bases_or_another_head(embedded):
    server, *_rest = embedded
    other = server.node('0')
    for column, node in (('bases', other), ('head', other)):
        [(key, before)] = server.sql(f'SELECT "key", hex({column}) FROM bundles WHERE id = 1')
        assert before.lower() != node
        server.sql(f"UPDATE bundles SET {column} = x'{node}' WHERE id = 1")
        out = server.hg_fast('admin::headless-verify', '--full', code=1)
        assert f'bundle: {key}: its row names another head, or other bases, than it has\n' in out
        assert '1 problem, 0 repaired' in out
        server.sql(f"UPDATE bundles SET {column} = x'{before}' WHERE id = 1")
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')


@pytest.mark.slow
def test_verify_does_not_repair_against_another_store(embedded):
    server, alice, nodes = embedded
    other = server.root.parent / 'other'
    # One push went there already.
    key = objects(server)[0].relative_to(store_of(server))
    (other / key.parent).mkdir(parents=True)
    shutil.copy(store_of(server) / key, other / key)
    out = server.hg(
        'admin::headless-verify', '--repair', '--config', f'headless.store=file://{other}', code=1
    )
    assert '2 of 3 objects are not in the store: nothing is repaired' in out
    assert known(server, alice, *nodes) == [True] * 4


def test_gc_does_not_remove_what_another_database_knows(embedded):
    server, _alice, _nodes = embedded
    for number in range(25):
        name = f'{number:02x}' * 32
        (store_of(server) / 'try' / name[:2]).mkdir(exist_ok=True)
        (store_of(server) / 'try' / name[:2] / f'{name}.hg').write_bytes(b'x')
    out = server.hg_fast('admin::headless-gc', '--grace', '0s', code=255)
    assert 'headless: refused: this database knows nothing of 25 of the 28 objects' in out
    assert len(objects(server)) == 28
    server.hg_fast('admin::headless-gc', '--grace', '0s', '--force')
    assert len(objects(server)) == 3


def test_not_in_the_repository_that_was_moved_from(world, embedded):
    """There "in the repository" does not mean public."""
    server, alice, nodes = embedded
    (alice.root / '.hg' / 'hgrc').write_text('[phases]\npublish = no\n')
    server.hg('pull', '-q', '-f', str(alice.root))
    out = server.hg_fast('admin::headless-expire', '--user', 'bob', code=255)
    assert 'headless: refused: this repository has drafts in itself' in out
    out = server.hg_fast('admin::headless-obliterate', nodes[0], '--reason', 'x', code=255)
    assert 'headless: refused: this repository has drafts in itself' in out
    assert len(objects(server)) == 3


def test_expire_goes_on_past_a_lost_object(embedded):
    server, alice, (a, b, c, d) = embedded
    ((lost,),) = server.sql(f"SELECT key FROM bundles WHERE head = x'{b}'")
    (store_of(server) / lost).unlink()
    server.hg_fast('admin::headless-expire', '--push', '1')
    server.sql(f"DELETE FROM bundles WHERE head = x'{a}'")
    # What is left of push 1 would have to be stored anew.
    out = server.hg_fast(
        'admin::headless-expire',
        '--user',
        'bob',
        '--user',
        'alice',
        '--push',
        '2',
        '--push',
        '3',
        code=1,
    )
    assert f'headless: corrupt: the store has no object {lost}' in out
    assert 'expired 2 drafts, and 1 bundle' in out
    assert known(server, alice, c, d) == [False, False]


def test_expire_by_age(world, embedded):
    server, alice, nodes = embedded
    make_old(server)
    alice.hg_fast('update', '-q', nodes[1])
    young = alice.commit('young')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    base = server.start()
    would = server.hg_fast('admin::headless-expire', '--older-than', '9d', '--dry-run')
    assert would.startswith('would expire 2 drafts, and 3 bundles')
    assert len(objects(server)) == 4
    out = server.hg_fast('admin::headless-expire', '--older-than', '9d', '-Tjson')
    assert sorted(item['node'] for item in json.loads(out)) == sorted(nodes[2:])
    # What the young one builds on stays.
    assert known(server, alice, *nodes, young) == [True, True, False, False, True]
    assert len(objects(server)) == 1
    for node in nodes[2:]:
        for page in ('rev', 'raw-rev', 'json-rev', 'file', 'json-automationrelevance'):
            status, body, _headers = fetch(f'{base}{page}/{node[:12]}')
            assert status == 410, (page, status)
            assert b'is gone' in body
    assert fetch(f'{base}rev/{nodes[0]}')[0] == 200
    bob = world.clone(base, 'bob')
    assert 'unknown revision' in bob.hg_fast('pull', '-r', nodes[3], code=255)
    bob.hg_fast('pull', '-q', '-r', young)
    bob.verified()
    # The push is still told, by name.
    pushes = fetch_json(f'{base}json-pushes?startID=2&endID=3')
    assert pushes['3']['changesets'] == nodes[2:]
    full = fetch_json(f'{base}json-pushes?changeset={nodes[3]}&full=1&tipsonly=1&version=2')
    (push,) = full['pushes'].values()
    assert push['changesets'] == []
    assert fetch(f'{base}pushloghtml')[0] == 200
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')
    # Pushed again it is new.
    alice.hg_fast('update', '-q', nodes[3])
    assert 'stored 2 changesets as push 5' in alice.hg_fast('push', '-f', '-r', '.')
    assert fetch(f'{base}rev/{nodes[3]}')[0] == 200
    found = fetch_json(f'{base}json-pushes?changeset={nodes[3]}')
    assert list(found) == ['5']


def test_what_is_named_has_to_be_there(embedded):
    """A typing error is not a success with nothing to do."""
    server, _alice, _nodes = embedded
    server.world.hg('init', 'there')
    for args, line in (
        (('expire', '--push', '1', '--push', '99'), 'there is no push 99'),
        (('expire', '--push', '0', '-n'), 'there is no push 0'),
        (('expire', '-u', 'alice', '-u', 'nobody', '-n'), 'there is no push by "nobody"'),
        (('expire', '--older-than', '1d', '-u', 'bo'), 'there is no push by "bo"'),
        (('export', '--push', '99', str(server.world.folder / 'there')), 'there is no push 99'),
    ):
        out = server.hg_fast(f'admin::headless-{args[0]}', *args[1:], code=255)
        assert out == f'abort: headless: refused: {line}\n'
    assert len(objects(server)) == 3


@pytest.mark.slow
def test_expire_by_user_push_and_revset(embedded):
    server, alice, (a, b, c, d) = embedded
    assert 'nothing is chosen' in server.hg_fast('admin::headless-expire', code=255)
    assert 'takes an age' in server.hg_fast('admin::headless-expire', '--older-than', '9', code=255)
    out = server.hg_fast('admin::headless-expire', '-r', 'deadbeef', code=255)
    assert 'no stored draft is named' in out
    # Numbers and short words are what they are in a revset.
    for revset in ('limit(draft(), 1)', 'desc("5") or user(a)', '-1', '2'):
        out = server.hg_fast('admin::headless-expire', '--push', '3', '-n', '-r', revset, code=None)
        assert 'ambiguous' not in out
        assert 'temporary' not in out
    out = server.hg_fast('admin::headless-expire', '--push', '3', '-r', 'wdir()', code=255)
    assert 'headless: refused: the working directory' in out
    # c is only in the bundle of d: it is stored anew.
    out = server.hg_fast('admin::headless-expire', '-r', f'{d[:12]} and desc("d")')
    assert out.startswith('expired 1 draft, and 1 bundle')
    assert known(server, alice, a, b, c, d) == [True, True, True, False]
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')
    server.hg_fast('admin::headless-expire', '--user', 'bob')
    assert known(server, alice, a, b, c) == [True, False, True]
    server.hg_fast('admin::headless-expire', '--push', '1', '--push', '2')
    assert known(server, alice, a, c) == [False, True]
    server.hg_fast('admin::headless-expire', '--push', '3', '-r', 'desc("nothing")')
    assert known(server, alice, c) == [True]


def test_published_drafts_stay_in_the_pushlog(embedded):
    server, alice, (a, *_rest) = embedded
    alice.hg_fast('phase', '--public', a)
    alice.hg_fast('push', '-f', '-r', a)
    make_old(server)
    server.hg_fast('admin::headless-expire', '--older-than', '1d')
    assert objects(server) == []
    assert (
        fetch_json(f'{server.start()}json-pushes?changeset={a}&full=1')['1']['changesets'][0][
            'desc'
        ]
        == 'a'
    )
    assert 'all is well' in server.hg_fast('admin::headless-verify')


@pytest.mark.slow
def test_forget(world, embedded):
    server, alice, (a, b, c, d) = embedded
    assert '--reason is required' in server.hg_fast('admin::headless-obliterate', c, code=255)
    assert 'and not by "nonsense"' in server.hg_fast(
        'admin::headless-obliterate', 'nonsense', '--reason', 'x', code=255
    )
    assert 'is public' in server.hg_fast(
        'admin::headless-obliterate', alice.node('0'), '--reason', 'x', code=255
    )
    assert (
        server.hg_fast('admin::headless-obliterate', '-n', b, '--reason', 'x')
        == f'would obliterate {b}\n'
    )
    out = server.hg_fast('admin::headless-obliterate', b[:12], '--reason', 'court order 17')
    assert out == f'obliterated {b}\n'
    assert known(server, alice, a, b, c, d) == [True, False, True, True]
    assert len(objects(server)) == 2
    audit = server.sql('SELECT hex(subject), action, reason FROM audit')
    assert audit == [(b.upper(), 'obliterate', b'court order 17')]
    assert server.sql(f"SELECT * FROM changesets WHERE node = x'{b}'") == []
    assert fetch(f'{server.start()}rev/{b}')[0] == 410
    # It does not come back, nor below another draft.
    alice.hg_fast('update', '-q', b)
    alice.commit('on it')
    out = alice.hg_fast('push', '-f', '-r', '.', code=255)
    assert f'headless: refused: changeset {b[:12]} was removed' in out
    # Nor as public history.
    alice.hg_fast('phase', '--public', b)
    out = alice.hg_fast('push', '-f', '-r', b, code=255)
    assert f'headless: refused: changeset {b[:12]} was removed' in out
    assert server.changesets() == 3
    # What builds on it goes with it, what it builds on stays.
    args = ('--reason', 'again', '-u', 'carol', '-Tjson')
    out = server.hg_fast('admin::headless-obliterate', c, *args)
    assert {item['node'] for item in json.loads(out)} == {c, d}
    audit = server.hg_fast('admin::headless-audit')
    for node in (c, d):
        assert f'carol  obliterate {node}  again\n' in audit
        page = fetch_page(f'{server.restart()}rev/{node}', 410)
        assert 'it was removed on' in page and 'ask those who run this server' in page
    assert known(server, alice, a, c, d) == [True, False, False]
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')


def test_gc(world, embedded):
    server, alice, nodes = embedded
    kept = objects(server)
    orphan = store_of(server) / 'try' / 'ab' / ('ab' * 32 + '.hg')
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b'x')
    foreign = orphan.parent / 'README'
    foreign.write_text('not ours')
    abandoned = orphan.parent / '.tmp-x'
    abandoned.write_bytes(b'x')
    folders = [world.folder / 'tmp' / f'hg-headless-{name}' for name in ('old', 'young')]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / 'incoming.cg').write_bytes(b'x')
    cached = server.root / '.hg' / 'headless' / 'cache'
    cached.mkdir()
    (cached / ('cd' * 32)).write_bytes(b'x')
    env = {'TMPDIR': str(world.folder / 'tmp')}
    assert server.hg('admin::headless-gc', env=env) == ''
    assert orphan.exists()  # too young
    make_old(server)
    for path in (foreign, cached / ('cd' * 32), folders[0] / 'incoming.cg', folders[0]):
        os.utime(path, (time.time() - 10 * 86400,) * 2)
    listed = json.loads(server.hg('admin::headless-gc', '--dry-run', '-Tjson', env=env))
    assert [item['object'] for item in listed] == [f'try/ab/{orphan.name}']
    out = server.hg('admin::headless-gc', '-n', env=env)
    assert out == f'would remove try/ab/{orphan.name} (1 bytes)\nwould remove 1 object\n'
    assert orphan.exists()
    assert server.hg('admin::headless-gc', env=env) == f'try/ab/{orphan.name} (1 bytes)\n'
    assert not orphan.exists()
    assert not abandoned.exists()
    assert foreign.exists()
    stays = cached / ('ef' * 32)  # a folder stands for a file that this user may not remove
    stays.mkdir()
    os.utime(stays, (time.time() - 10 * 86400,) * 2)
    out = server.hg_fast('admin::headless-gc')
    assert out == f'{cached}: old entries of the cache stay: Is a directory\n'
    stays.rmdir()
    assert objects(server) == kept
    assert [folder.exists() for folder in folders] == [False, True]
    assert list(cached.iterdir()) == []
    assert known(server, alice, *nodes) == [True] * 4
    assert server.hg_fast('admin::headless-gc', '-n') == 'would remove 0 objects\n'
    assert 'removed 0 objects\n' in server.hg_fast('admin::headless-gc', '-v')
    assert 'takes an age' in server.hg_fast('admin::headless-gc', '--grace', 'x', code=255)


@pytest.mark.slow
def test_one_gc_at_a_time(world, make_server, backend):
    server = make_server(backend)
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a')
    alice.hg_fast('push', '-q')
    (world.folder / 'holds.py').write_text(
        'from mercurial import registrar\n'
        'cmdtable = {}\n'
        'command = registrar.command(cmdtable)\n'
        "@command(b'holdlock')\n"
        'def holdlock(ui, repo):\n'
        "    with repo.headless.catalog.exclusive('removal') as lock:\n"
        "        ui.write(b'locked %d\\n' % bool(lock))\n"
        '        ui.flush()\n'
        '        ui.fin.read()\n'
    )
    holder = subprocess.Popen(
        [HG, '-R', server.root, '--config', f'extensions.x={world.folder}/holds.py', 'holdlock'],
        env=world.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b'locked 1\n'
        assert 'another gc, expire or obliterate is' in server.hg_fast('admin::headless-gc', code=1)
        out = server.hg_fast('admin::headless-expire', '--older-than', '1d', code=255)
        assert 'headless: temporary: another gc' in out
    finally:
        holder.send_signal(signal.SIGKILL)  # the lock ends with its process
        holder.wait()
    deadline = time.monotonic() + 10
    while server.hg_fast('admin::headless-gc', code=None).code and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.hg_fast('admin::headless-gc') == ''


@pytest.mark.slow
@pytest.mark.parametrize('backend', EITHER)
def test_gc_beside_a_push(world, make_server, backend):
    """A push finds its object, gc removes it, twice: acknowledged, it must be there."""
    server = make_server(backend)
    alice = world.clone(str(server.root), 'alice')
    alice.commit('first')
    alice.hg_fast('push', '-q')
    tip = alice.commit('a')
    # The object is in the store, without a row: the database failed after it.
    hgrc = (server.root / '.hg' / 'hgrc').read_text()
    with open(server.root / '.hg' / 'hgrc', 'a') as out:
        out.write(f'[extensions]\nfails = {failing(world)}\n')
    out = alice.hg_fast('push', '-f', '-r', '.', code=255)
    assert 'headless: temporary: no database today' in out
    (server.root / '.hg' / 'hgrc').write_text(hgrc)
    gc = f'{HG} -R {server.root} admin::headless-gc --grace 0s -v >> {world.folder}/gc.out 2>&1'
    (world.folder / 'slow.py').write_text(
        'import subprocess\n'
        'from hgext_headless.catalog import catalog\n'
        'from mercurial import extensions\n'
        'times = [2]\n'
        'def write(orig, self, change, *args):\n'
        '    if change.__name__ == "record" and times[0]:\n'
        '        times[0] -= 1\n'
        f'        subprocess.run({gc!r}, shell=True, check=True)\n'
        '    return orig(self, change, *args)\n'
        'def extsetup(ui):\n'
        "    extensions.wrapfunction(catalog.Catalog, 'write', write)\n"
    )
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[extensions]\nslow = {world.folder}/slow.py\n')
    assert 'as push 2' in alice.hg_fast('push', '-f', '-r', '.')
    text = (world.folder / 'gc.out').read_text()
    assert len(re.findall(r'/[0-9a-f]{64}\.hg', text)) == 2, text
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')
    bob = world.clone(str(server.root), 'bob')
    bob.hg('pull', '-q', '-r', tip, str(server.root))
    assert bob.log('tip') == [f'{tip} draft']


def failing(world) -> Path:
    """An extension with which no push can be recorded."""
    path = world.folder / 'failing.py'
    path.write_text(
        'from hgext_headless import errors\n'
        'from hgext_headless.catalog import record\n'
        'def fail(*args):\n'
        "    raise errors.Temporary('no database today')\n"
        'def extsetup(ui):\n'
        '    record.record = fail\n'
    )
    return path


def killer(world, place: str, before: bool) -> tuple[str, str]:
    """An extension that kills its process as it comes to a place."""
    module, name = place.rsplit(':')
    *owner, method = name.split('.')
    path = world.folder / 'killer.py'
    path.write_text(
        'import importlib, os\n'
        'from mercurial import extensions\n'
        'def die(orig, *args, **kwargs):\n'
        f'    {"pass" if before else "orig(*args, **kwargs)"}\n'
        '    os.kill(os.getpid(), 9)\n'
        'def extsetup(ui):\n'
        f'    module = importlib.import_module({module!r})\n'
        f'    extensions.wrapfunction({".".join(["module", *owner])}, {method!r}, die)\n'
    )
    return '--config', f'extensions.killer={path}'


@pytest.mark.parametrize(
    ('place', 'before'),
    [
        pytest.param('hgext_headless.catalog.catalog:Catalog.write', True, marks=pytest.mark.slow),
        ('hgext_headless.lifecycle.delete:Deleter._delete', True),
        pytest.param('hgext_headless.store.files:FileStore.delete', True, marks=pytest.mark.slow),
        pytest.param(
            'hgext_headless.store.files:FileStore.delete', False, marks=pytest.mark.slow
        ),
    ],
)
def test_killed_expire(world, embedded, place, before):
    """Whatever it had done, the house is in order, and it can be run again."""
    server, alice, (a, b, c, d) = embedded
    dies = killer(world, place, before)
    server.hg('admin::headless-expire', '-r', d, *dies, code=-signal.SIGKILL)
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')
    assert known(server, alice, a, b, c) == [True, True, True]
    if known(server, alice, d) == [True]:
        server.hg_fast('admin::headless-expire', '-r', d)
    else:
        # Its object may be gone, and must not be taken for one that stays.
        out = alice.hg_fast('push', '-f', '-r', d, code=255)
        assert 'headless: temporary: the store is deleting an object' in out
    server.hg_fast('admin::headless-gc', '--grace', '0s')
    assert len(objects(server)) == 3
    assert 'as push 4' in alice.hg_fast('push', '-f', '-r', d)
    assert known(server, alice, a, b, c, d) == [True] * 4
    assert 'all is well' in server.hg_fast('admin::headless-verify', '--full')


@pytest.mark.slow
def test_killed_forget(world, embedded):
    """Once it is decided, no push brings it back, or builds on it."""
    server, alice, (_a, b, *_rest) = embedded
    dies = killer(world, 'hgext_headless.lifecycle.drop:plan', before=True)
    forget = ('admin::headless-obliterate', b, '--reason', 'x')
    server.hg(*forget, *dies, code=-signal.SIGKILL)
    assert known(server, alice, b) == [True]
    alice.hg_fast('update', '-q', b)
    alice.commit('on it')
    assert f'changeset {b[:12]} was removed' in alice.hg_fast('push', '-f', '-r', '.', code=255)
    assert server.hg(*forget) == f'obliterated {b}\n'
    assert known(server, alice, b) == [False]
    assert len(objects(server)) == 2
