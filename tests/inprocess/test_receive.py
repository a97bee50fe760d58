"""A push on its way through the quarantine, in this process: what is refused, and what
becomes of the rest."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import os
import random
import zlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from helpers.forge import NULL, Forged, full
from helpers.world import Server, World
from mercurial import bundlerepo, changegroup, hg, mdiff, ui as uis, util
from mercurial.utils import storageutil

from hgext_headless import hgcompat, timings
from hgext_headless.bundles import check, overlay, shared_index, write
from hgext_headless.bundles.ancestry import Stack
from hgext_headless.errors import Corrupt, Refused
from hgext_headless.model import Bundle
from hgext_headless.receive import divide, flow, quarantine
from hgext_headless.receive.incoming import Incoming


@pytest.fixture(scope='module')
def pushed(tmp_path_factory) -> Iterator[tuple[Forged, object, dict[str, bytes]]]:
    """What somebody would push, the repository it is for, and its changesets by name::

        c   d
        b   |
        a---'
        public history
    """
    world = World(tmp_path_factory.mktemp('receive'))
    server = Server(world, extensions=())
    (server.root / '.hg' / 'hgrc').unlink()
    alice = world.clone(str(server.root), 'alice')
    nodes = {name: alice.commit(name, name * 9, '-d', '7 0') for name in 'abc'}
    alice.hg_fast('update', '-q', nodes['a'])
    nodes['d'] = alice.commit('d', 'd', '-d', '7 0')
    repo = hg.repository(uis.ui.load(), os.fsencode(server.root))
    repo.headless = None  # as `reposetup` of the extensions would
    named = {name: bytes.fromhex(node) for name, node in nodes.items()}
    named['public'] = repo[b'tip'].node()
    yield Forged(alice.root), repo, named
    world.stop()


@pytest.fixture
def forged(pushed) -> Forged:
    return pushed[0].copy()


@pytest.fixture
def nodes(pushed) -> dict[str, bytes]:
    return pushed[2]


@pytest.fixture
def received(pushed, tmp_path) -> Callable[..., Incoming]:
    repo = pushed[1]

    def receive(forged: Forged, *public: bytes, accept_public: bool = True) -> Incoming:
        settings = SimpleNamespace(
            accept_public=accept_public, repository='try', max_push_size=1 << 20
        )
        backend = SimpleNamespace(settings=settings)
        stages = timings.Stages({})
        incoming = Incoming(repo, backend, b'push', b'', str(tmp_path), stages)
        incoming.receive(io.BytesIO(b''.join(forged.chunks())), b'02')
        incoming.public_heads = list(public)
        return incoming

    return receive


def divided(incoming: Incoming) -> divide.Divided:
    quarantine.sort(incoming, set())
    with quarantine.opened(incoming) as opened:
        return divide.changesets(incoming, opened.overlay)


def test_drafts(received, forged, nodes):
    found = divided(received(forged))
    assert (found.public, found.public_heads) == ([], [])
    assert found.drafts == [nodes[name] for name in 'abcd']
    assert set(found.draft_heads) == {nodes['c'], nodes['d']}
    assert found.draft_roots == [nodes['a']]


def test_public_under_drafts(received, forged, nodes):
    """Its ancestors are public too; the roots of the rest are those after."""
    found = divided(received(forged, nodes['b'], nodes['public']))
    assert found.public == [nodes['a'], nodes['b']]
    assert found.public_heads == [nodes['b']]
    assert found.drafts == [nodes['c'], nodes['d']]
    assert set(found.draft_heads) == set(found.draft_roots) == {nodes['c'], nodes['d']}


def test_lookups(received, forged):
    """However long a stack is, Mercurial's index is not asked so often that it maps all nodes."""
    incoming = received(forged)
    incoming.repo = hg.repository(incoming.ui, incoming.repo.root)
    incoming.repo.headless = None
    divided(incoming)
    statistics = incoming.repo.changelog.index.stats()
    # The parent, and the root.
    assert statistics[b'node trie misses'] == 2


def test_public_with_a_draft_as_parent(received, forged, nodes):
    """It would not be looked up: its parent is not there."""
    text = full(b'another')
    wrong = forged.changesets[0]._replace(node=nodes['public'], p1=nodes['d'], delta=text)
    forged.changesets.append(wrong._replace(link=wrong.node))
    with pytest.raises(Refused, match=f'{nodes["public"].hex()[:12]} is missing'):
        divided(received(forged))


def test_all_public(received, forged, nodes):
    found = divided(received(forged, nodes['c'], nodes['d']))
    assert set(found.public_heads) == {nodes['c'], nodes['d']}
    assert found.drafts == found.draft_heads == found.draft_roots == []


def test_public_that_is_not_taken(received, forged, nodes):
    with pytest.raises(Refused, match=f'headless.public = reject.: {nodes["a"].hex()[:12]}'):
        divided(received(forged, nodes['b'], accept_public=False))
    # What is public here already makes nothing public.
    assert divided(received(forged, nodes['public'], accept_public=False)).public == []


def test_public_that_is_not_there(received, forged):
    with pytest.raises(Refused, match='changeset 111111111111 is unknown here'):
        divided(received(forged, b'\x11' * 20))


def test_bundles(received, forged, nodes):
    """One for each draft head that is not held: it, and its draft ancestors."""
    for held, public, expected in (
        (set(), [], {'c': 'abc', 'd': 'ad'}),
        ({nodes['c']}, [], {'d': 'ad'}),
        (set(), [nodes['a']], {'c': 'bc', 'd': 'd'}),
        (set(), [nodes['d']], {'c': 'bc'}),
    ):
        incoming = received(forged, *public)
        with quarantine.opened(incoming) as opened:
            split = divide.changesets(incoming, opened.overlay)
            files = flow._bundles(incoming, opened, split, held)
        assert {one.head: one.nodes for one, _path in files} == {
            nodes[head]: tuple(nodes[name] for name in names) for head, names in expected.items()
        }
        for one, path in files:
            assert one.bases == ((nodes['a'],) if public else (nodes['public'],))
            assert os.path.getsize(path) == one.size
            with open(path, 'rb') as file:
                assert file.read(6) == b'HG10GZ'


def test_facts(received, forged, nodes):
    with quarantine.opened(received(forged)) as opened:
        found = opened.changesets
        assert [one.node for one in found] == [nodes[name] for name in 'abcd']
    assert [one.files for one in found] == [(name.encode(),) for name in 'abcd']
    assert {one.p1 for one in found} == {nodes['public'], nodes['a'], nodes['b']}
    assert {(one.branch, one.date, one.description[:1]) for one in found} == {
        (b'default', 7, name.encode()) for name in 'abcd'
    }


def test_deltas_are_taken_over(received, forged, nodes, pushed, monkeypatch):
    """Those to public history too: to compare two large manifests takes longer than all else."""
    public = pushed[1][nodes['public']]
    compared = []
    compare = bundlerepo.bundlerevlog.revdiff

    def noted(log, *revs):
        compared.append(type(log))
        return compare(log, *revs)

    monkeypatch.setattr(bundlerepo.bundlerevlog, 'revdiff', noted)
    stack = stacked(forged, 20, 1)
    first, text = stack.manifests[0], stack.manifests[0].delta[12:]
    delta = mdiff.textdiff(pushed[1].manifestlog[public.manifestnode()].read().text(), text)
    stack.manifests[0] = first._replace(base=public.manifestnode(), delta=delta)
    incoming = received(stack)
    with quarantine.opened(incoming) as opened:
        split = divide.changesets(incoming, opened.overlay)
        ((bundle, _path),) = flow._bundles(incoming, opened, split, set())
    assert len(bundle.nodes) == 20
    assert compared == [shared_index.Changelog]  # the first one came whole


def test_what_does_not_compress():
    """It is stored as it is, between what does."""
    noise, text = random.Random(1).randbytes(5 << 20), b'a line of text\n' * 200_000
    for parts, least, most in (
        ([noise], len(noise), len(noise) + 1000),
        ([text, noise, text], len(noise), len(noise) + len(text) // 2),
        ([text], 0, len(text) // 100),
        ([b'', b'short'], 0, 30),
        ([], 0, 30),
    ):
        found = b''.join(write._compressed(iter(parts)))
        assert zlib.decompress(found) == b''.join(parts)
        assert least <= len(found) <= most


@pytest.mark.slow
def test_logs_are_opened_once(received, tmp_path_factory, pushed, monkeypatch):
    """Not for each changeset, or for each head: opening one takes as long as it has revisions."""
    world = World(tmp_path_factory.mktemp('one-file'))
    alice = world.clone(os.fsdecode(pushed[1].root), 'alice')
    for number in range(6):
        alice.hg('update', '-q', '0')
        alice.commit('f', f'{number}\n')
    incoming = received(Forged(alice.root))
    opened = []

    class Counted(bundlerepo.bundlefilelog):
        def __init__(self, opener, path, *args):
            opened.append(path)
            super().__init__(opener, path, *args)

    monkeypatch.setattr(bundlerepo, 'bundlefilelog', Counted)
    with quarantine.opened(incoming) as found:
        split = divide.changesets(incoming, found.overlay)
        assert len(flow._bundles(incoming, found, split, set())) == 6
    assert 0 < len(opened) < 6
    world.stop()


def test_memory_of_logs_that_stay_open(received, forged, nodes, monkeypatch):
    """As many as have room, and at least one; the others are opened again. One bundle needs one."""
    log = overlay._LOG + overlay._REVISION
    costs: list[int] = []

    class Noted(util.lrucachedict):
        def insert(self, key, value, cost=0):
            super().insert(key, value, cost)
            if isinstance(value, bundlerepo.bundlefilelog):
                costs.append(self.totalcost)

    monkeypatch.setattr(util, 'lrucachedict', Noted)
    for held, room, most, opened in (
        (set(), 9 * log, 4 * log, 4),
        (set(), 2 * log, 2 * log, 5),
        (set(), 1, log, 5),
        ({nodes['d']}, 9 * log, log, 3),
    ):
        costs.clear()
        monkeypatch.setattr(overlay, '_OPENED', room)
        incoming = received(forged)
        with quarantine.opened(incoming) as found:
            split = divide.changesets(incoming, found.overlay)
            assert len(flow._bundles(incoming, found, split, held)) == 2 - len(held)
        assert max(costs) == most and len(costs) == opened


def change(entry, **fields):
    return entry._replace(**fields)


def _without_file(forged):
    del forged.files[b'd']


def _without_manifest(forged):
    del forged.manifests[-1]


def _stray_file(forged):
    forged.files[b'd'].append(forged.rewrite(forged.files[b'd'][0], b'stray'))


def _stray_manifest(forged):
    old = forged.manifests[0]
    forged.manifests.append(forged.rewrite(old, old.delta[12:] + b'z\0' + b'0' * 40 + b'\n'))


def _unlisted(forged):
    forged.change_changeset(lambda text: text.replace(b'\nd\n\n', b'\n\n', 1))


def _other_content(forged):
    old = forged.files[b'd'][0]
    forged.files[b'd'][0] = old._replace(delta=full(b'evil'))


def _other_text(forged):
    old = forged.changesets[-1]
    forged.changesets[-1] = old._replace(delta=full(old.delta[12:] + b'!'))


def _twice(forged):
    forged.changesets.append(forged.changesets[0])


def _without_parent(forged):
    del forged.changesets[1]


def _bad_name(forged):
    forged.files[b'../d'] = forged.files.pop(b'd')


def _flag(forged):
    node = forged.files[b'd'][0].node.hex().encode()
    forged.change_manifest(lambda text: text.replace(node, node + b't'))


@pytest.mark.parametrize(
    ('forge', 'words'),
    [
        (_without_file, 'is missing'),
        (_without_manifest, 'is missing'),
        (_stray_file, "of file 'd' belongs to no changeset"),
        (_stray_manifest, 'of the manifest belongs to no changeset'),
        (_unlisted, "does not list its file 'd'"),
        (_other_content, 'does not fit its hash'),
        (_other_text, 'does not fit its hash'),
        (_twice, 'is twice in the changegroup'),
        (_without_parent, 'is unknown here'),
        (_bad_name, "file name '../d' is not allowed"),
        (_flag, "unknown flag 't'"),
    ],
)
@pytest.mark.parametrize('manifests', ['whole', 'deltas'])
def test_refused(received, forged, forge, words, manifests):
    forge(forged)
    if manifests == 'deltas':
        forged.shrink_manifests()
    with pytest.raises(Refused, match=words):
        divided(received(forged))


@pytest.mark.parametrize('link', ['null', 'public', 'other'])
@pytest.mark.parametrize('of', ['manifests', 'files'])
def test_linknodes(received, forged, nodes, link, of):
    """What a revision says of its changeset is put right, so that it is packed with it."""
    wrong = {'null': NULL, 'public': nodes['public'], 'other': nodes['b']}[link]
    group = forged.files[b'd'] if of == 'files' else forged.manifests
    group[-1] = change(group[-1], link=wrong)
    incoming = received(forged)
    with quarantine.opened(incoming) as opened:
        split = divide.changesets(incoming, opened.overlay)
        (file,) = flow._bundles(incoming, opened, split, {nodes['c']})
        assert opened.overlay[nodes['d']][b'd'].linkrev() == opened.overlay[nodes['d']].rev()
    assert file[0].nodes == (nodes['a'], nodes['d'])


def stacked(forged: Forged, count: int, apart: int) -> Forged:
    """Changesets that all change one file. Each text is a delta against the one ``apart`` before.

    Its changesets, manifests and file are chains of such deltas side by side.
    """
    groups = [forged.files[b'a'], forged.manifests[:1], forged.changesets[:1]]
    texts = [[group[0].delta[12:]] for group in groups]
    for number in range(1, count):
        old, new = texts[0][-1], b'a' * 9 + b'%d' % number
        for group, known in zip(groups, texts):
            # What names a file is its manifest, and a changeset names that.
            text = known[-1].replace(old, new)
            node = storageutil.hashrevisionsha1(text, *sorted([group[-1].node, NULL]))
            at = max(0, number - apart)
            delta = mdiff.textdiff(known[at], text)
            old, new = group[-1].node.hex().encode(), node.hex().encode()
            base = group[at].node
            group.append(group[0]._replace(node=node, p1=group[-1].node, base=base, delta=delta))
            known.append(text)
    links = [entry.node for entry in groups[2]]
    files, manifests, changesets = (
        [entry._replace(link=link) for entry, link in zip(group, links)] for group in groups
    )
    forged.files, forged.manifests, forged.changesets = {b'a': files}, manifests, changesets
    return forged


@pytest.mark.parametrize('apart', [1, 2, 7])
def test_chains_side_by_side(received, forged, monkeypatch, apart):
    """Chains of deltas that cross cost no more than one chain."""
    made: list[bytes] = []
    patches = mdiff.patches

    def counted(text: bytes, deltas: list[bytes]) -> bytes:
        made.append(text)
        return patches(text, deltas)

    monkeypatch.setattr(mdiff, 'patches', counted)
    incoming = received(stacked(forged, 300, apart))
    with quarantine.opened(incoming) as opened:
        split = divide.changesets(incoming, opened.overlay)
        ((bundle, _path),) = flow._bundles(incoming, opened, split, set())
    assert len(bundle.nodes) == 300
    assert len(made) < 300 * 3 * 4


def test_chains_that_take_too_long(received, forged, monkeypatch):
    """Without room for more than one text, two chains take quadratic time: that is not spent."""
    monkeypatch.setattr(shared_index, '_SIZE_OF_TEXTS', 1)
    monkeypatch.setattr(shared_index, '_MADE_ANYWAY', 0)
    with pytest.raises(Refused, match='build on each other in too many long chains'):
        divided(received(stacked(forged, 300, 2)))


def test_texts_that_are_too_many(received, forged, monkeypatch):
    """A few bytes each, of a large manifest."""
    monkeypatch.setattr(shared_index, '_MOST_READ', 10_000)
    divided(received(forged))
    with pytest.raises(Refused, match='together have more than 0 GB of text'):
        divided(received(stacked(forged, 300, 1)))


def test_texts_that_are_small_on_the_wire_only(received, forged, monkeypatch):
    incoming = received(stacked(forged, 20, 1))
    incoming.backend.settings.max_push_size = 8 * 20 * 40
    with pytest.raises(Refused, match='the descriptions and lists of files of the push have more'):
        divided(incoming)
    monkeypatch.setattr(check, '_MOST_LINES', 3)
    with pytest.raises(Refused, match='lists more than 3 files'):
        divided(received(forged))


def test_file_that_never_was(received, forged):
    forged.change_changeset(lambda text: text.replace(b'\nd\n', b'\nd\nnever\n'))
    incoming = received(forged)
    with quarantine.opened(incoming) as opened:
        split = divide.changesets(incoming, opened.overlay)
        with pytest.raises(Refused, match='cannot be packed: empty or missing file data for never'):
            flow._bundles(incoming, opened, split, set())


def cg1(entries) -> bytes:
    """A group of a changegroup 01."""
    found = b''
    for one in entries:
        header = one.node + one.p1 + one.p2 + one.link
        found += changegroup.chunkheader(len(header) + len(one.delta)) + header + one.delta
    return found + changegroup.closechunk()


@pytest.mark.parametrize('lost', ['', 'file', 'manifest', 'changeset'])
def test_what_packing_leaves_out(received, forged, nodes, tmp_path, lost):
    """Seen by what the push was found to have."""
    stack = (nodes['a'], nodes['d'])
    changesets = [one for one in forged.changesets if one.node in stack]
    manifests = [one for one in forged.manifests if one.link in stack]
    names = [b'a', b'd']
    {'file': names, 'manifest': manifests, 'changeset': changesets}.get(lost, [0]).pop()
    body = cg1(changesets) + cg1(manifests)
    for name in names:
        body += changegroup.chunkheader(len(name)) + name + cg1(forged.files[name])
    path = tmp_path / 'written.hg'
    path.write_bytes(b'HG10UN' + body + changegroup.closechunk())
    bundle = Bundle('', 0, '', nodes['d'], (nodes['public'],), stack)
    words = 'does not have the changesets' if lost == 'changeset' else 'is not in the bundle'
    found = pytest.raises(check.Unfit, match=words) if lost else contextlib.nullcontext()
    with quarantine.opened(received(forged)) as opened, found:
        check.check_written(opened.overlay, bundle, str(path), opened.checked)


def test_a_second_changegroup(received, forged):
    with pytest.raises(Refused, match='may have one changegroup'):
        received(forged).receive(io.BytesIO(b''.join(forged.chunks())), b'02')


def test_written_alone(received, forged, nodes, pushed, tmp_path):
    """A bundle that does not hold all that it needs is found out."""
    repo = pushed[1]
    with quarantine.opened(received(forged)) as opened:
        folder = tmp_path / 'written'
        folder.mkdir()
        whole = Stack((nodes['a'], nodes['d']), (nodes['public'],))
        bundle, _path, changesets = write.write_checked(
            opened.overlay, repo, 'try', whole, str(folder)
        )
        assert bundle.nodes == whole.nodes and len(changesets) == 2
        part = Stack((nodes['d'],), (nodes['a'],))
        with pytest.raises(Corrupt, match=f'draft {nodes["d"].hex()}'):
            write.write_checked(opened.overlay, repo, 'try', part, str(folder))
        more = Stack((nodes['d'],), (nodes['public'],))
        with pytest.raises(Corrupt, match='does not hold the changesets that it should'):
            write.write_checked(opened.overlay, repo, 'try', more, str(folder))


class _OnAFullDisk:
    """A journal that keeps what is written until there is room."""

    full = True

    def __init__(self, file) -> None:
        self._file, self._kept = file, b''

    def write(self, text: bytes) -> None:
        self._kept += text

    def flush(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, 'No space left on device')
        self._file.write(self._kept)
        self._kept = b''

    def seek(self, offset: int) -> None:
        self.flush()
        self._file.seek(offset)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def test_transaction_that_cannot_be_aborted(tmp_path):
    """It is not when others have recovered: what they have added since would be lost."""
    world = World(tmp_path)
    clone = world.clone(str(Server(world, extensions=()).root), 'clone')
    repo = hg.repository(uis.ui.load(), os.fsencode(clone.root))
    with repo.lock(), pytest.raises(OSError), hgcompat.transaction(repo, b'push') as transaction:
        journal = transaction._file = _OnAFullDisk(transaction._file)
        callbacks = dict(transaction._abortcallback)  # a server's repository refers to them
        transaction.add(b'00changelog.i', len(repo.svfs.read(b'00changelog.i')))
    clone.hg('recover')
    added = clone.commit('later')
    journal.full = False
    del transaction
    gc.collect()
    assert callbacks
    assert added in ' '.join(clone.log())
    clone.verified()
    world.stop()
