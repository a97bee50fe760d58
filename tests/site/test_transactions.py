"""The hooks of a transaction, for pushes that open none."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from helpers.world import HG

#: A policy as sites have it: it may refuse, and its transaction is told of that.
POLICY = f"""
pretxnclose.policy = ! {HG} log -r "$HG_NODE:" -T '{{desc}}\\n' | grep private
txnabort.told = echo abort $HG_TXNID >> %(out)s
pretxnopen.told = echo open $HG_TXNID >> %(out)s
txnclose.told = echo close $HG_TXNID $HG_NODE >> %(out)s
"""


@pytest.fixture
def site(world, make_server):
    """Make a server with hooks; the server, and the lines that they have told since."""
    out = world.folder / 'told'

    def make(hooks):
        server = make_server('embedded')
        server.configure('', f'[push]\npushvars.server = yes\n[hooks]\n{hooks % {"out": out}}')
        return server

    def told():
        found = out.read_text().splitlines() if out.exists() else []
        out.write_text('')
        return found

    return make, told


def stored(server):
    folder = server.root / '.hg' / 'headless' / 'store'
    return [path for path in folder.rglob('*') if path.is_file()]


@pytest.mark.parametrize(
    'transport', ['ssh', pytest.param('http', marks=pytest.mark.slow)]
)
def test_policy(transport, world, site):
    make, told = site
    server = make(POLICY)
    alice = world.clone(server.url(transport), 'alice')
    alice.publish('public')
    alice.commit('private')
    out = alice.hg_fast('push', code=255)
    assert 'pretxnclose.policy hook exited with status 1' in out
    [opened, aborted] = told()
    assert aborted == opened.replace('open', 'abort')
    # Nothing is stored, and nothing is in the repository.
    assert not stored(server)
    assert server.sql('SELECT count(*) FROM changesets') == [(0,)]
    assert server.changesets() == 3
    assert alice.log('.', '{phase}') == ['draft']
    alice.hg_fast('commit', '-q', '--amend', '-m', 'fine')
    alice.hg_fast('push')
    [opened, closed] = told()
    assert closed == f'{opened.replace("open", "close")} {alice.node(".^")}'
    assert server.changesets() == 4


def test_draft_that_is_refused_as_public(world, site):
    make, told = site
    server = make(
        'pretxnclose-phase.policy = test "$HG_OLDPHASE-$HG_PHASE" != draft-public\n'
        'txnclose.told = echo closed >> %(out)s\n'
    )
    alice = world.clone(server.url('http'), 'alice')
    node = alice.commit('a')
    alice.hg_fast('push')
    assert told() == ['closed']
    alice.hg_fast('phase', '--public', '.')
    assert 'pretxnclose-phase.policy hook exited' in alice.hg_fast('push', code=255)
    assert server.changesets() == 3
    out = alice.hg_fast('debugpushkey', server.url('http'), 'phases', node, '1', '0', code=1)
    assert 'pretxnclose-phase.policy hook exited' in out
    assert server.changesets() == 3
    assert told() == []


@pytest.mark.slow
def test_bookmark_that_is_refused(world, site):
    make, told = site
    server = make(
        'pretxnclose-bookmark.policy = echo "$HG_BOOKMARK $HG_OLDNODE $HG_NODE" >> %(out)s;'
        ' test $HG_BOOKMARK != bad\n'
    )
    alice = world.clone(server.url('http'), 'alice')
    node = alice.commit('a')
    alice.hg_fast('bookmark', 'good')
    alice.hg_fast('push', '-B', 'good')
    assert told() == [f'good  {node}']
    # It is there already.
    alice.hg_fast('push', '-B', 'good', code=None)
    assert told() == []
    alice.hg_fast('bookmark', 'bad')
    assert 'pretxnclose-bookmark.policy' in alice.hg_fast('push', '-B', 'bad', code=255)
    assert told() == [f'bad  {node}']
    assert server.sql('SELECT count(*) FROM bookmarks') == [(1,)]
    child = alice.commit('b')
    alice.hg_fast('bookmark', '-f', 'good')
    alice.hg_fast('push', '-B', 'good')
    assert told() == [f'good {node} {child}']
    # Becoming public moves no bookmark, though it moves from the database to the repository.
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push', code=None)
    assert told() == []
    assert 'good' in server.hg('bookmarks')


def test_push_variables(world, site):
    make, _told = site
    server = make('pretxnclose.vars = test "$HG_USERVAR_SURE" = yes\n')
    alice = world.clone(server.url('http'), 'alice')
    alice.commit('a')
    assert 'pretxnclose.vars hook exited' in alice.hg_fast('push', code=255)
    alice.hg_fast('push', '--pushvars', 'SURE=yes')


def test_told_after_the_commit(world, site):
    """What is told of a push can be asked for."""
    make, told = site
    server = make('')
    db = server.root / '.hg' / 'headless' / 'catalog.sqlite'
    ask = f"import sqlite3; print(*sqlite3.connect('{db}').execute('select count(*) from pushes'))"
    server.configure(
        '',
        f'[hooks]\ntxnclose = python3 -c "{ask}" >> {world.folder}/told\n'
        f'changegroup = python3 -c "{ask}" >> {world.folder}/told\n',
    )
    alice = world.clone(server.url('http'), 'alice')
    alice.commit('a')
    alice.hg_fast('push')
    assert told() == ['(1,)', '(1,)']


@pytest.mark.slow
def test_database_that_fails_behind_the_repository(world, site):
    """The public part stays, and what follows the repository is told of it, once."""
    make, told = site
    server = make(
        'txnclose.told = echo close $HG_NODE $HG_NODE_LAST >> %(out)s\n'
        'txnclose-phase.told = echo phase $HG_NODE $HG_PHASE >> %(out)s\n'
        'txnabort.told = echo abort >> %(out)s\n'
        'changegroup.told = echo group $HG_NODE $HG_NODE_LAST >> %(out)s\n'
    )
    alice = world.clone(server.url('http'), 'alice')
    public = alice.publish('public')
    draft = alice.commit('draft')
    alice.hg_fast('identify', server.url('http'), '-r', draft, code=255)  # makes the database
    path = server.root / '.hg' / 'headless' / 'catalog.sqlite'
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(
            'CREATE TRIGGER broken BEFORE INSERT ON pushes BEGIN SELECT RAISE(ABORT, "x"); END'
        )
        connection.commit()
        assert 'headless: temporary' in alice.hg_fast('push', code=255)
        assert server.changesets() == 4
        assert told() == [
            f'phase {public} public',
            f'close {public} {public}',
            f'group {public} {public}',
        ]
        connection.execute('DROP TRIGGER broken')
        connection.commit()
    alice.hg_fast('push')
    assert told() == [f'phase {draft} draft', f'close {draft} {draft}', f'group {draft} {draft}']


def test_phases(world, site):
    """As on an ordinary server: all is draft when it arrives, and public when it is closed."""
    make, told = site
    see = f"{HG} log -r $HG_NODE: -T '{{desc}} {{phase}};' >> %(out)s; echo >> %(out)s\n"
    server = make(f'pretxnchangegroup.see = {see}pretxnclose.see = {see}changegroup.see = {see}')
    alice = world.clone(server.url('http'), 'alice')
    alice.publish('a')
    alice.commit('b')
    alice.hg_fast('push')
    assert told() == ['a draft;b draft;', 'a public;b draft;', 'a public;b draft;']


@pytest.mark.slow
def test_who_pushed(world, site):
    """The first variable that is set: a landing service acts for somebody."""
    make, _told = site
    server = make('')
    server.configure('user-variable = LANDING_USER, USER')
    alice = world.clone(server.url('ssh'), 'alice')
    for number, env in enumerate(({}, {'LANDING_USER': 'bob'}, {'LANDING_USER': ''})):
        alice.commit(f'{number}')
        alice.hg('push', env=env)
    assert server.sql('SELECT CAST(user AS TEXT) FROM pushes ORDER BY push_id') == [
        ('alice',),
        ('bob',),
        ('alice',),
    ]


@pytest.mark.slow
def test_where_a_push_is_shown(world, site):
    """Without an absolute URL nothing is said; where drafts are not served, that is."""
    make, _told = site
    server = make('')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    out = alice.hg_fast('push')
    assert 'headless: stored 1 changeset as push 1' in out and 'headless: see' not in out
    assert 'link-base is not set: over ssh' in server.hg('admin::headless-doctor', code=None)
    server.configure('link-base = https://hg.example.com/try')
    alice.commit('b')
    assert 'headless: see https://hg.example.com/try/push/2' in alice.hg_fast('push')
    assert 'link-base' not in server.hg('admin::headless-doctor', code=None)


def test_server_that_serves_no_drafts(world, make_server):
    server = make_server('embedded', extensions=('push',))
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    out = alice.hg_fast('push')
    assert 'drafts cannot be pulled from here (hgext_headless.web is not loaded)' in out
    out = server.hg('admin::headless-doctor', code=None)
    assert 'warning: serving: a pull from this server finds no drafts' in out


def test_doctor_tells_what_hooks_cannot_be_given(world, site):
    make, _told = site
    server = make(
        'pretxnclose.py = python:site.hook\npretxnchangegroup.sh = env | grep HG_PENDING\n'
    )
    out = server.hg('admin::headless-doctor', code=None)
    assert 'warning: hooks: pretxnclose.py: repo.currenttransaction() is None' in out
    assert 'warning: hooks: pretxnchangegroup.sh: HG_PENDING is not set' in out
    assert out.count('warning: hooks: ') == 2


#: As sites have it: one account, a forced command for each key, and nothing of the client's but
#: the repository's name.
WRAPPER = f'''#!/usr/bin/env python3
import os, re, sys
asked = re.fullmatch(r'\\S*hg -R (\\S+) serve --stdio', os.environ['SSH_ORIGINAL_COMMAND'])
if not asked:
    sys.exit('hg alone is served here')
environ = {{name: os.environ[name] for name in ('PATH', 'HGRCPATH', 'LC_ALL')}}
environ['USER'] = sys.argv[1]
os.execve('{HG}', ['hg', '-R', asked[1], 'serve', '--stdio'], environ)
'''


@pytest.mark.slow
def test_forced_command(world, site):
    make, told = site
    server = make('')
    server.configure(
        'user-variable = LANDING_USER, USER',
        f'[hooks]\nchangegroup.told = echo $USER $LANDING_USER $HG_URL >> {world.folder}/told\n',
    )
    wrapper, sshd = world.folder / 'wrapper', world.folder / 'sshd'
    wrapper.write_text(WRAPPER)
    sshd.write_text(f'#!/bin/sh\nshift\nSSH_ORIGINAL_COMMAND="$*" exec {wrapper} carol\n')
    for script in (wrapper, sshd):
        script.chmod(0o755)
    ssh = ('--ssh', str(sshd))
    alice = world.clone(server.url('ssh'), 'alice', *ssh)
    alice.commit('a')
    alice.hg('push', *ssh, env={'LANDING_USER': 'mallory'})
    assert server.sql('SELECT CAST(user AS TEXT) FROM pushes') == [('carol',)]
    [line] = told()
    assert line.startswith('carol remote:ssh:')
    bob = world.clone(server.url('ssh'), 'bob', *ssh)
    bob.hg('pull', *ssh, '-r', alice.node())
    assert 'served here' in alice.hg('push', *ssh, '--remotecmd', 'sh -c id;', code=255)
