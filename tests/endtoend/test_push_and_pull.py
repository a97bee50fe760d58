"""A plain push stores drafts outside the repository; a plain pull brings them back."""

from __future__ import annotations

import pytest


def drafts_stay(server, clone, public=3):
    """The server has not one changeset more, and the client's drafts are drafts."""
    assert server.changesets() == public
    assert all(line.endswith('draft') for line in clone.log('not ::public()'))


@pytest.mark.parametrize(
    ('backend', 'transport'),
    [
        ('services', 'http'),
        ('services', 'ssh'),
        pytest.param('services', 'path', marks=pytest.mark.slow),
        pytest.param('embedded', 'http', marks=pytest.mark.slow),
    ],
)
def test_push_and_pull(world, make_server, backend, transport):
    server = make_server(backend)
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    alice.commit('a')
    tip = alice.commit('b', 'text\n' * 100)
    out = alice.hg_fast('push')
    assert 'headless: stored 2 changesets as push 1' in out
    # Over ssh and by path, nobody has told the server its URL.
    assert ('/push/1\n' in out) == (transport == 'http')
    assert alice.log('draft()', '{phase}\n') == ['draft', 'draft']
    drafts_stay(server, alice)
    assert f'changesets had been pushed before, up to {tip[:12]}\n' in alice.hg_fast('push')
    assert alice.log('draft()', '{phase}\n') == ['draft', 'draft']
    assert 'no changes found' in alice.hg_fast('pull')
    assert 'no changes found' in alice.hg_fast('incoming', code=1)

    bob = world.clone(url, 'bob')
    assert len(bob.log()) == 3
    assert bob.hg_fast('identify', '-r', tip[:10], url).startswith(tip[:12])
    incoming = bob.hg_fast('incoming', '-q', '-r', tip, '--bundle', 'in.hg')
    assert tip[:12] in incoming
    bob.hg_fast('pull', '-r', tip[:10])
    bob.verified()
    assert bob.log('draft()', '{phase}\n') == ['draft', 'draft']
    assert bob.facts('draft()') == alice.facts('draft()')

    carol = world.clone(url, 'carol', '-r', tip)
    carol.verified()
    assert carol.facts('all()') == alice.facts('all()')

    # From nothing, out of the bundle that "incoming" kept.
    dave = world.clone(url, 'dave')
    dave.hg('pull', '-q', str(bob.root / 'in.hg'))
    assert dave.facts('draft()') == alice.facts('draft()')


def test_growing_stack(world, make_server, transport):
    """A plain push each; the draft under it may be somebody else's."""
    server = make_server('services')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    for number in range(3):
        alice.commit(f'a{number}')
        out = alice.hg_fast('push')
        assert f'headless: stored 1 changeset as push {number + 1}' in out
    bob = world.clone(url, 'bob')
    bob.hg_fast('pull', '-q', '-u', '-r', alice.node())
    tip = bob.commit('b')
    assert 'stored 1 changeset as push 4' in bob.hg_fast('push')
    carol = world.clone(url, 'carol', '-r', tip)
    carol.verified()
    assert carol.facts('draft()') == bob.facts('draft()')
    drafts_stay(server, bob)


def test_shapes(world, make_server, transport):
    """Merges, copies, removals, binaries, odd names, branches, several heads."""
    server = make_server('services')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    alice.commit('first', 'one\n' * 50)
    alice.hg_fast('mv', 'first', 'second')
    alice.hg_fast('cp', 'public0', 'copied')
    alice.hg_fast('rm', 'public1')
    alice.commit('bin', bytes(range(256)) * 100, '-m', 'renamed')
    alice.commit('empty', b'')
    alice.commit('sp ace/ümlaut %41 & "q" \'s\'.txt', 'odd')
    (alice.root / 'latin').write_bytes(b'caf\xe9')
    alice.hg_fast('add', 'latin')
    alice.hg_fast(
        'commit', '-m', b'caf\xe9 latin', '-u', b'Ren\xe9 <r@example.com>', '--encoding', 'latin-1'
    )
    left = alice.node()
    alice.hg_fast('update', '-q', '0')
    alice.commit('side')
    alice.hg_fast('branch', '-q', 'topic')
    alice.commit('branched')
    alice.hg_fast('commit', '-q', '--close-branch', '-m', 'closed')
    closed = alice.node()
    alice.hg_fast('update', '-q', '0')
    alice.commit('other')
    alice.hg_fast('merge', '-q', '-r', left)
    alice.hg_fast('commit', '-m', 'draft merge')
    alice.hg_fast('merge', '-q', '-r', closed)
    alice.hg_fast('commit', '-m', 'merge of branches')
    merged = alice.node()
    alice.hg_fast('update', '-q', 'null')
    rooted = alice.commit('own root', 'x')
    out = alice.hg_fast('push', '-f')
    assert 'headless: stored 12 changesets as push 1' in out
    drafts_stay(server, alice)
    assert 'all changesets had been pushed before' in alice.hg_fast('push', '-f')
    for number, node in enumerate((merged, rooted, closed, left)):
        other = world.clone(url, f'clone{number}', '-r', node[:14])
        other.verified()
        assert other.facts(f'::{node}') == alice.facts(f'::{node}')
    both = world.clone(url, 'both')
    both.hg_fast('pull', '-f', '-q', '-r', merged, '-r', rooted)
    both.verified()
    assert both.facts('draft()') == alice.facts('draft()')


def test_empty_repository(world, make_server, transport):
    server = make_server('embedded', public=0)
    url = server.url(transport)
    alice = world.init('alice')
    tip = alice.commit('a')
    assert 'as push 1' in alice.hg('push', url)
    drafts_stay(server, alice, public=0)
    assert 'all changesets had been pushed before' in alice.hg('push', url)
    bob = world.clone(url, 'bob')
    assert bob.log() == []
    bob.hg('pull', '-q', '-r', tip, url)
    assert bob.facts('all()') == alice.facts('all()')


@pytest.mark.slow
def test_many_changesets(world, make_server):
    server = make_server('services')
    url = server.url('http')
    alice = world.clone(url, 'alice')
    base = alice.node('tip')
    stream = []
    for number in range(600):  # more than one batch of rows
        stream.append(
            f'# HG changeset patch\n# User u\n# Date {number} 0\n'
            f'# Parent  {base}\nnumber {number}\n\n'
            f'diff --git a/n{number % 7} b/n{number % 7}\n'
            + ('new file mode 100644\n--- /dev/null\n' if number < 7 else f'--- a/n{number % 7}\n')
            + f'+++ b/n{number % 7}\n'
            + ('@@ -0,0 +1,1 @@\n' if number < 7 else f'@@ -1,1 +1,1 @@\n-{number - 7}\n')
            + f'+{number}\n'
        )
    (alice.root / 'patches').write_text('\n'.join(stream))
    alice.hg_fast('import', '-q', 'patches')
    out = alice.hg_fast('push')
    assert 'headless: stored 600 changesets as push 1' in out
    tip = alice.node('tip')
    bob = world.clone(url, 'bob')
    bob.hg_fast('pull', '-q', '-r', tip)
    bob.verified()
    assert bob.log('draft()') == alice.log('draft()')
    drafts_stay(server, bob)


def test_public_under_drafts(world, make_server, transport):
    server = make_server('embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    public = alice.commit('public3')
    alice.hg_fast('phase', '--public', '.')
    alice.commit('draft')
    assert 'stored 2 changesets as push 1' in alice.hg_fast('push')
    assert server.log('tip') == [f'{public} public']
    drafts_stay(server, alice, public=4)


def test_public_rejected(world, make_server, transport):
    server = make_server('embedded', settings='public = reject\n')
    alice = world.clone(server.url(transport), 'alice')
    alice.commit('public3')
    alice.hg_fast('phase', '--public', '.')
    alice.commit('draft')
    out = alice.hg_fast('push', code=255)
    assert 'headless: refused: this server takes no public changesets' in out
    drafts_stay(server, alice)


def test_draft_becomes_public(world, make_server, transport):
    """As phase heads without changegroup, and as the parent of a public changeset."""
    server = make_server('services')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    alice.commit('a')
    first = alice.commit('b')
    alice.hg_fast('push')
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push')
    assert server.log('tip') == [f'{first} public']
    alice.commit('c')
    alice.hg_fast('push')
    alice.commit('d')
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push')
    assert server.log('tip') == [f'{alice.node()} public']
    assert server.changesets() == 7
    server.verified()
    bob = world.clone(url, 'bob')
    assert bob.log() == alice.log()


def test_draft_becomes_public_by_pushkey(world, make_server, transport):
    """As a client does that speaks no bundle2 phases; and by a draft's child elsewhere."""
    server = make_server('embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    alice.commit('a')
    tip = alice.commit('b')
    alice.hg_fast('push')
    assert server.changesets() == 3
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push', '--config', 'devel.legacy.exchange=phases')
    assert server.log('tip') == [f'{tip} public']
    assert server.changesets() == 5
    server.verified()


def test_siblings_share_revisions(world, make_server, transport):
    """Drafts that have revisions of files and manifests in common."""
    server = make_server('services')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    alice.commit('a', 'content\n')
    alice.hg_fast('push')
    alice.hg('commit', '--amend', '-m', 'another message', '--config', 'extensions.rebase=')
    amended = alice.node()
    alice.hg_fast('push', '-f', '-r', '.')
    alice.hg_fast('update', '-q', '0')
    alice.hg_fast('graft', '-q', '-r', amended)
    grafted = alice.node()
    alice.hg_fast('push', '-f', '-r', '.')
    for number, node in enumerate((amended, grafted)):
        other = world.clone(url, f'clone{number}', '-r', node)
        other.verified()
        assert other.facts(f'::{node}') == alice.facts(f'::{node}')


def test_names(world, make_server, transport):
    """Unknown and ambiguous prefixes get stock's own errors."""
    server = make_server('embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    seen = {}
    pair = None
    for number in range(40):
        alice.hg_fast('update', '-q', '0')
        node = alice.commit('same', f'{number}')
        if not node[0].isalpha():  # a digit would be a revision's number
            continue
        if node[0] in seen:
            pair = node[0]
            break
        seen[node[0]] = node
    assert pair is not None
    alice.hg_fast('push', '-f')
    bob = world.clone(url, 'bob')
    assert 'unknown revision' in bob.hg_fast('pull', '-r', '0123456789ab', code=255)
    assert 'ambiguous identifier' in bob.hg_fast('pull', '-r', pair, code=255)


def test_branch_of_drafts(world, make_server):
    """Its name is that of its newest draft, as with stock; public branches go before."""
    server = make_server('embedded')
    alice = world.clone(server.start(), 'alice')
    alice.hg_fast('branch', '-q', 'topic')
    alice.commit('a')
    alice.hg_fast('push', '--new-branch')
    alice.hg_fast('update', '-q', '0')
    alice.hg_fast('branch', '-q', '-f', 'topic')
    newest = alice.commit('b')
    alice.hg_fast('push', '-f', '--new-branch')
    alice.hg_fast('update', '-q', 'public()')
    on_default = alice.commit('c')
    alice.hg_fast('push', '-r', '.')
    bob = world.clone(server.start(), 'bob')
    assert bob.hg_fast('identify', '--id', '-r', 'topic', server.start()).strip() == newest[:12]
    bob.hg_fast('pull', '-r', 'topic')
    assert bob.log('draft()') == [f'{newest} draft']
    out = bob.hg_fast('identify', '--id', '-r', 'default', server.start())
    assert out.strip() != on_default[:12]


def test_plain_commands_bring_no_draft(world, make_server, transport):
    server = make_server('embedded')
    url = server.url(transport)
    alice = world.clone(url, 'alice')
    alice.commit('a')
    alice.hg_fast('push')
    bob = world.clone(url, 'bob')
    server_tip = bob.node('tip')
    public = world.clone(url, 'publisher')
    public.commit('news')
    public.hg_fast('phase', '--public', '.')
    public.hg_fast('push')
    bob.hg_fast('pull')
    assert bob.log('draft()') == []
    assert bob.node('tip') != server_tip
    # With a stored draft of one's own, too.
    alice.hg_fast('pull')
    assert len(alice.log('draft()')) == 1
    assert len(alice.log('public()')) == 4


def test_report_over_ssh_has_the_link_base(world, make_server):
    server = make_server('embedded', settings='link-base = https://hg.example.com/try\n')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    out = alice.hg_fast('push')
    assert 'remote: headless: see https://hg.example.com/try/push/1\n' in out


@pytest.mark.slow
def test_large_file(world, make_server):
    server = make_server('services')
    url = server.url('http')
    alice = world.clone(url, 'alice')
    tip = alice.commit('large', b'0123456789abcdef' * (100 * 1024 * 1024 // 16))
    alice.hg_fast('push')
    bob = world.clone(url, 'bob')
    bob.hg_fast('pull', '-q', '-u', '-r', tip)
    assert (bob.root / 'large').stat().st_size == 100 * 1024 * 1024
    drafts_stay(server, alice)
