"""What a site's hooks in Python and its extensions find as ``repo``."""

from __future__ import annotations

import pytest
from helpers.world import HG

#: As sites have it: an extension that gives each repository an attribute, and hooks.
EXTENSION = '''
from mercurial import error

def opening(ui, repo, **kwargs):
    repo._replicated = {'types': ['pretxnopen']}

def arriving(ui, repo, node, **kwargs):
    repo._replicated['types'].append('pretxnchangegroup')
    for rev in repo.changelog.revs(repo[node].rev()):
        repo.ui.status(b'site: %s at %s\\n' % (repo[rev].description(), repo.site_name))

def closing(ui, repo, node=None, changes=None, **kwargs):
    if b'bad' in repo[b'tip'].description():
        raise error.Abort(b'a bad description')
    if b'broken' in repo[b'tip'].description():
        repo.no_such_attribute
    for revs, (old, new) in changes[b'phases']:
        found = repo[revs[0]].phase()
        ui.status(b'site: %d is %d, was %r, and is %d\\n' % (len(revs), new, old, found))

def told(ui, repo, node, **kwargs):
    types = ' '.join(repo._replicated['types']).encode()
    ui.status(b'site: told of %s after %s\\n' % (repo[node].description(), types))

def reposetup(ui, repo):
    if not repo.local():
        return

    class site(repo.__class__):
        @property
        def site_name(self):
            assert self.changelog is not None
            return self.ui.config(b'site', b'name', b'?')

        @property
        def manifestlog(self):  # as largefiles does
            return super().manifestlog

    repo.__class__ = site
    ui.setconfig(b'hooks', b'pretxnopen.site', opening, b'site')
    ui.setconfig(b'hooks', b'pretxnchangegroup.site', arriving, b'site')
    ui.setconfig(b'hooks', b'pretxnclose.site', closing, b'site')
    ui.setconfig(b'hooks', b'changegroup.site', told, b'site')
'''


@pytest.fixture
def server(world, make_server):
    extension = world.folder / 'site.py'
    extension.write_text(EXTENSION)
    made = make_server('embedded')
    made.configure('', f'[extensions]\nsite = {extension}\n[site]\nname = try\n')
    return made


@pytest.mark.parametrize(
    'transport', ['ssh', pytest.param('http', marks=pytest.mark.slow)]
)
def test_attributes_and_what_hooks_leave(transport, world, server):
    alice = world.clone(server.url(transport), 'alice')
    for name in ('first', 'second'):
        alice.commit(name)
        out = alice.hg_fast('push')
        assert f'remote: site: {name} at try\n' in out
        assert out.count(' at try') == 1
        assert 'remote: site: 1 is 1, was None, and is 1\n' in out
        assert f'remote: site: told of {name} after pretxnopen pretxnchangegroup\n' in out
    # A push that publishes, and one without changesets.
    alice.hg_fast('phase', '--public', '.')
    assert 'remote: site: 1 is 0, was 1, and is 0\n' in alice.hg_fast('push')
    alice.publish('third')
    assert 'remote: site: told of third after' in alice.hg_fast('push')


@pytest.mark.parametrize(
    'transport', ['ssh', pytest.param('http', marks=pytest.mark.slow)]
)
def test_hook_that_raises(transport, world, server):
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('bad')
    out = alice.hg_fast('push', code=255)
    assert 'a bad description' in out and 'headless:' not in out
    alice.hg_fast('commit', '-q', '--amend', '-m', 'broken')
    out = alice.hg_fast('push', code=255)
    assert "headless: misconfigured: a pretxnclose hook raised AttributeError" in out
    assert 'no_such_attribute' in out
    assert 'pretxnclose.site hook raised an exception' in out
    alice.hg_fast('commit', '-q', '--amend', '-m', 'good')
    alice.hg_fast('push')


#: As sites have them: one fills caches, one counts heads, one writes.
CURIOUS = '''
def caching(ui, repo, node=None, hooktype=None, **kwargs):
    for view in (repo, repo.unfiltered(), repo.filtered(b'served')):
        view.tags()
        for branch in view.branchmap():
            view.branchmap().branchheads(branch)
        [view[rev].branch() for rev in view]

def writing(ui, repo, node=None, **kwargs):
    if b'write' in repo[node].description():
        with repo.lock(), repo.transaction(b'site') as transaction:
            repo._bookmarks.applychanges(repo, transaction, [(b'mark', repo[node].node())])
'''


@pytest.mark.slow
def test_hooks_change_nothing_below(world, make_server):
    extension = world.folder / 'curious.py'
    extension.write_text(CURIOUS)
    server = make_server('embedded')
    server.configure(
        '',
        f'[hooks]\npretxnclose.a = python:{extension}:caching\n'
        f'pretxnclose.b = python:{extension}:writing\n'
        f'pretxnclose.c = {HG} log -r $HG_NODE: -T "{{tags}} {{branch}}" && {HG} branches\n',
    )
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('.hgtags', f'{alice.node("0")} tagged\n')
    before = content(server)
    alice.hg_fast('push')
    assert content(server) == before
    alice.hg_fast('commit', '-q', '--amend', '-m', 'write')
    out = alice.hg_fast('push', '-f', code=255)
    assert 'headless: misconfigured: a pretxnclose hook raised LockUnavailable' in out
    assert content(server) == before


def content(server):
    """What is in a repository, but for what a push of drafts changes."""
    return {
        str(path): path.read_bytes()
        for path in server.root.rglob('*')
        if path.is_file() and 'headless' not in path.relative_to(server.root).parts[1]
    }


@pytest.mark.parametrize(
    'name',
    [
        'pushlog',
        'lfs',
        pytest.param('largefiles', marks=pytest.mark.slow),
        pytest.param('vcsreplicator', marks=pytest.mark.slow),
    ],
)
def test_extension_that_would_do_harm(name, world, make_server):
    extension = world.folder / 'harm.py'
    extension.write_text('')
    server = make_server('embedded')
    server.configure('', f'[extensions]\n{name} = {extension}\n')
    alice = world.init('alice')
    out = alice.hg('pull', f'ssh://localhost/{server.root}', code=255)
    assert f'headless: misconfigured: the extension {name} ' in out
    # In its hgrc, whose path is cut where it does not fit.
    assert f'"{name} = !" below [extensions] in /' in out
    for command in ('headless-doctor', 'headless-init'):
        out = server.hg(f'admin::{command}', code=255)
        assert f'the extension {name} ' in out and f'"{name} = !"' in out
    # In the hgrc for all repositories, and disabled for this one.
    with open(world.folder / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[extensions]\n{name} = {extension}\n')
    server.configure('', f'[extensions]\n{name} = !\n')
    alice.hg('pull', f'ssh://localhost/{server.root}')
