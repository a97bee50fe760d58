"""Rows that were lost: seen by verify, made again from the objects."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import pytest
from helpers.embedded import make_old, objects
from helpers.web import fetch_json


def problems(server, *args) -> list[str]:
    out = server.hg_fast('admin::headless-verify', *args, '-T', 'json', code=None)
    found = sorted(f'{p["kind"]} {p["problem"]}' for p in json.loads(out))
    assert out.code == (1 if found else 0)
    return found


@pytest.mark.slow
def test_rows_that_were_changed(embedded):
    server, _alice, _nodes = embedded
    assert problems(server, '--full') == []
    server.sql("UPDATE changesets SET author = X'6d616c6c6f7279' WHERE id = 1")
    assert 'another author than it has itself' in problems(server, '--full')[0]
    server.sql("UPDATE changesets SET description = X'00' WHERE id = 3")
    assert len(problems(server, '--full')) == 3  # the first stands in two bundles


@pytest.mark.slow
def test_public_rows_that_were_changed(world, embedded):
    server, alice, nodes = embedded
    alice.hg_fast('phase', '--public', nodes[3])
    alice.hg_fast('push', '-q', '-f', '-r', nodes[3])  # beside the tip
    new = alice.commit('public')
    alice.hg_fast('phase', '--public', new)
    alice.hg_fast('push', '-q', '-f', '-r', new)
    assert problems(server, '--full') == []
    server.sql(f"UPDATE changesets SET branch = X'62' WHERE node = X'{new}'")
    assert any('another branch than it has' in p for p in problems(server, '--full'))


def test_lost_rows_of_a_push(embedded):
    server, _alice, _nodes = embedded
    server.sql('DELETE FROM push_changesets WHERE push_id = 3 AND position = 1')
    assert problems(server) == ['push it lists 1 of the 2 changesets that it brought']
    server.sql('DELETE FROM push_changesets WHERE push_id = 3')
    assert problems(server) == ['push it lists 0 of the 2 changesets that it brought']


def test_lost_rows_of_a_bundle(embedded):
    server, _alice, _nodes = embedded
    server.sql('DELETE FROM bundle_changesets WHERE bundle_id = 2 AND position = 0')
    (found,) = problems(server, '--full')
    assert 'its rows name 1 changeset, and not the 2 that it has' in found
    server.hg_fast('admin::headless-verify', '--full', '--repair', code=1)
    assert len(objects(server)) == 3


def test_foreign_objects(embedded):
    server, _alice, _nodes = embedded
    folder = server.root / '.hg' / 'headless' / 'store' / 'try'
    (folder / 'README').write_text('x')
    (objects(server)[0].parent / 'x.hg').write_text('x')
    assert problems(server) == []
    assert len(problems(server, '--full')) == 2


def is_unknown(server, node):
    out = server.hg('identify', '-r', node, str(server.root), code=255)
    assert f"unknown revision '{node}'" in out


def drafts_are_there(server, alice, nodes):
    for node in nodes:
        alice.world.hg('identify', '-r', node, str(server.root))
    bob = alice.world.clone(str(server.root), 'bob', *(a for n in nodes for a in ('-r', n)))
    bob.verified()
    for node in nodes:
        assert bob.facts(node) == alice.facts(node)
    shutil.rmtree(bob.root)


def test_rebuild_lost_rows(embedded):
    server, alice, nodes = embedded
    pushes = fetch_json(server.start() + 'json-pushes?version=2&full=1')
    server.sql('DELETE FROM bundle_changesets')
    server.sql('DELETE FROM bundles')
    is_unknown(server, nodes[0])
    out = server.hg_fast('admin::headless-rebuild', '-n')
    assert 'would rebuild 3 bundles with 5 changesets; 0 failed' in out
    is_unknown(server, nodes[0])
    out = server.hg_fast('admin::headless-rebuild')
    assert 'rebuilt 3 bundles with 5 changesets; 0 failed' in out
    assert 'rebuilt 0 bundles' in server.hg_fast('admin::headless-rebuild')
    drafts_are_there(server, alice, nodes)
    assert fetch_json(server.start() + 'json-pushes?version=2&full=1') == pushes
    assert problems(server, '--full') == []


@pytest.mark.slow
def test_restore_an_old_backup(embedded):
    """Pushes come from the backup, what came after it is a "rebuilt" one for each object."""
    server, alice, nodes = embedded
    database = server.root / '.hg' / 'headless' / 'catalog.sqlite'
    server.sql('PRAGMA wal_checkpoint(TRUNCATE)')
    shutil.copy(database, server.root / 'backup')
    alice.hg_fast('update', '-q', nodes[1])
    nodes.append(alice.commit('e'))
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    alice.hg_fast('update', '-q', '0')
    nodes.append(alice.commit('f'))
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    server.world.restart()
    for journal in database.parent.glob('catalog.sqlite-*'):
        journal.unlink()
    shutil.copy(server.root / 'backup', database)
    is_unknown(server, nodes[-1])
    found = json.loads(server.hg_fast('admin::headless-rebuild', '-T', 'json'))
    assert [entry['push'] for entry in found] == [1000001, 1000002]
    pushes = fetch_json(server.start() + 'json-pushes?version=2')['pushes']
    assert {i: p['user'] for i, p in pushes.items()} == {
        '1': 'alice',
        '2': 'bob',
        '3': 'alice',
        '1000001': 'rebuilt',
        '1000002': 'rebuilt',
    }
    assert [pushes[i]['changesets'] for i in ('1000001', '1000002')] == [[nodes[4]], [nodes[5]]]
    drafts_are_there(server, alice, nodes)
    assert problems(server, '--full') == []


@pytest.mark.slow
def test_rebuild_without_a_backup(embedded):
    server, alice, nodes = embedded
    server.world.restart()
    for path in (server.root / '.hg' / 'headless').glob('catalog*'):
        path.unlink()
    server.hg_fast('admin::headless-init')
    server.hg_fast('admin::headless-rebuild')
    drafts_are_there(server, alice, nodes)
    assert problems(server, '--full') == []


@pytest.mark.slow
def test_verify_rebuilds_single_ones(embedded):
    server, alice, nodes = embedded
    server.sql('DELETE FROM bundle_changesets')
    server.sql('DELETE FROM bundles')
    make_old(server, 3 * 86400)
    assert all(
        'headless-rebuild' in problem for problem in problems(server) if 'row' in problem
    )
    server.hg_fast('admin::headless-verify', '--repair')
    drafts_are_there(server, alice, nodes)


def test_what_cannot_be_rebuilt(embedded):
    server, _alice, nodes = embedded
    server.hg_fast('admin::headless-obliterate', '--reason', 'secret', nodes[3])
    kept = {path: path.read_bytes() for path in objects(server)}
    server.sql('DELETE FROM bundle_changesets')
    server.sql('DELETE FROM bundles')
    damaged = sorted(kept)[0]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b'x')
    foreign = damaged.with_name(damaged.name[:2] + 'f' * 62 + '.hg')
    foreign.write_text('no bundle')
    out = server.hg_fast('admin::headless-rebuild', code=1)
    assert out.count('headless: corrupt: object') == 2, out
    assert f'rebuilt {len(kept) - 1} bundles' in out


def test_objects_of_other_formats(embedded):
    """Their names are those of their content; somebody put them there."""
    server, alice, _nodes = embedded
    first = objects(server)[0]
    stream = alice.root / 'stream.hg'
    alice.hg('debugcreatestreamclonebundle', stream)
    for content in (stream.read_bytes(), b'something else'):
        digest = hashlib.sha256(content).hexdigest()
        path = first.parent.parent / digest[:2] / f'{digest}.hg'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    out = server.hg_fast('admin::headless-rebuild', code=1)
    assert out.count('is not a bundle of version HG10') == 1, out
    assert out.count(' is not a bundle\n') == 1, out


def test_forgotten_stay_forgotten(embedded):
    server, _alice, nodes = embedded
    held = {path: path.read_bytes() for path in objects(server)}
    server.hg_fast('admin::headless-obliterate', '--reason', 'secret', nodes[3])
    for path, data in held.items():
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
    server.sql('DELETE FROM pending_deletions')
    out = server.hg_fast('admin::headless-rebuild', code=1)
    assert 'was removed from this server for good' in out
    is_unknown(server, nodes[3])


def test_obliterated_stay_obliterated_without_the_database(embedded):
    """Or with one from before: the store knows it, too."""
    server, alice, nodes = embedded
    held = {path: path.read_bytes() for path in objects(server)}
    server.hg_fast('admin::headless-obliterate', '--reason', 'secret', nodes[3])
    server.sql('DELETE FROM audit')
    assert problems(server) == [
        'obliterated was removed for good, and the database does not know it: run '
        '"hg admin::headless-rebuild"'
    ]
    out = server.hg_fast('admin::headless-doctor', code=1)
    assert '1 draft removed for good could come back' in out
    server.world.restart()
    for path in (server.root / '.hg' / 'headless').glob('catalog*'):
        path.unlink()
    server.hg_fast('admin::headless-init')
    for path, data in held.items():
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
    out = server.hg_fast('admin::headless-rebuild', code=1)
    assert 'kept 1 draft removed for good' in out
    assert 'was removed from this server for good' in out
    is_unknown(server, nodes[3])
    assert 'was removed from this server for good' in alice.hg_fast(
        'push', '-f', '-r', nodes[3], code=255
    )
    # And a database that knows more than the store.
    for path in (server.root / '.hg' / 'headless' / 'store').rglob('obliterated/*'):
        path.unlink()
    assert 'obliterated was removed for good, and the store has no note of it' in problems(server)
    server.hg_fast('admin::headless-verify', '--repair', code=None)
    assert not any('note' in problem for problem in problems(server))


@pytest.mark.slow
def test_rebuild_of_what_was_put_back(embedded):
    """From the bucket's versions, after a mistaken expiry."""
    server, alice, nodes = embedded
    held = {path: path.read_bytes() for path in objects(server)}
    server.hg_fast('admin::headless-expire', '--user', 'alice')
    is_unknown(server, nodes[3])  # bob builds on the first
    for path, data in held.items():
        path.write_bytes(data)
    assert '; 0 failed' in server.hg_fast('admin::headless-rebuild')
    drafts_are_there(server, alice, nodes)
    server.hg_fast('admin::headless-gc')
    assert problems(server, '--full') == []


def test_audit(embedded):
    server, _alice, nodes = embedded
    assert server.hg_fast('admin::headless-audit') == ''
    server.hg_fast('admin::headless-obliterate', '--reason', 'a secret', nodes[3])
    assert f'obliterate {nodes[3]}  a secret\n' in server.hg_fast('admin::headless-audit')
    (entry,) = json.loads(server.hg_fast('admin::headless-audit', '-T', 'json'))
    assert entry['subject'] == nodes[3] and entry['reason'] == 'a secret'
    (row,) = server.sql('SELECT repository, action, subject, reason FROM audit_log')
    assert row == ('try', 'obliterate', nodes[3], 'a secret')


@pytest.mark.parametrize('step', [1, pytest.param(100, marks=pytest.mark.slow)])
def test_expire_says_before_what_it_does(world, embedded, step):
    """Also where drafts stand in bundles that go at different times."""
    server, alice, nodes = embedded
    alice.hg_fast('update', '-q', nodes[1])
    for number in range(5):
        alice.commit(f'e{number}')
        alice.hg_fast('push', '-q', '-f', '-r', '.')
    alice.hg_fast('update', '-q', nodes[1])
    alice.commit('stays')
    alice.hg('push', '-q', '-f', '-r', '.', env={'USER': 'carol'})
    (world.folder / 'step.py').write_text(
        'import hgdemandimport\n'
        'with hgdemandimport.deactivated():\n'
        '    from hgext_headless.catalog import drop\n'
        f'drop.STEP = {step}\n'
    )
    args = (
        'admin::headless-expire',
        '--user',
        'alice',
        '--verbose',
        '--config',
        f'extensions.step={world.folder}/step.py',
    )
    expected = server.hg(*args, '--dry-run')
    done = server.hg(*args)
    assert sorted(done.splitlines()) == sorted(
        expected.replace('would expire', 'expired').splitlines()
    )
    assert ' drafts, and' in done


@pytest.mark.slow
def test_public_history_without_a_row(world, make_server):
    """It is named, and never applied: nobody knows whether hooks let it in."""
    server = make_server('services')
    server.hg_fast('admin::headless-init')
    older = world.folder / 'older'
    shutil.copytree(server.root / '.hg', older)
    alice = world.clone(server.url('path'), 'alice')
    public = alice.commit('public')
    alice.hg_fast('phase', '--public', '.')
    draft = alice.commit('draft')
    alice.hg_fast('push')
    server.lose_rows('bundle_changesets', 'public_log', 'bundles', 'public_history')
    server.hg_fast('admin::headless-verify', '--repair', code=None)
    shutil.rmtree(server.root / '.hg')
    shutil.copytree(older, server.root / '.hg')

    out = server.hg_fast('admin::headless-rebuild', code=1)
    refused = f'refused: it is public history, and {public[:12]} is not public'
    assert re.search(f'{refused} in this repository .*: pull', out)
    assert f'refused: revision {public[:12]} ' in out
    assert server.changesets() == 3
    server.hg('pull', '-q', '-r', public, alice.root)
    server.hg_fast('phase', '--public', public)
    out = server.hg_fast('admin::headless-rebuild')
    assert 'public history, which the repository has' in out
    bob = world.clone(server.url('http'), 'bob')
    bob.hg_fast('pull', '-r', draft)
