"""What is recorded and what is dropped, beside each other: the catalog itself, on both databases.

Each step here is what a process does in a transaction; in the races each runs whole between
two steps of the other.
"""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest
from conftest import fresh
from sqlalchemy import update

from hgext_headless.catalog import (
    bans,
    bookmarks,
    catalog as catalogs,
    coordination,
    deletions,
    drafts,
    drop as catalog_drop,
    engine,
    names,
    pushlog,
    record as catalog_record,
    statements,
)
from hgext_headless.catalog.schema import pending_deletions
from hgext_headless.errors import Deletions, Raced, Refused, Temporary, Vanished
from hgext_headless.hgweb.pushlog import json_format, wire_command
from hgext_headless.hgweb.pushlog.query import Query
from hgext_headless.lifecycle import delete, upload
from hgext_headless.model import (
    BookmarkMove,
    Bundle,
    Changeset,
    Parents,
    Push,
    Recorded,
    Selection,
)
from hgext_headless.store import Undeleted
from hgext_headless.store.files import FileStore

NULL = bytes(20)
PUBLIC = b'\xee' * 20
A, B, C, D = (bytes([number]) * 20 for number in range(1, 5))


@pytest.fixture(params=['sqlite', 'postgres'])
def catalog(request, tmp_path):
    if request.param == 'sqlite':
        home = str(tmp_path / 'home')
        url = f'sqlite:///{home}/catalog.sqlite'
    else:
        home, world = None, SimpleNamespace(env={})
        settings = fresh(world, request.getfixturevalue('services'))
        url = re.search('^database = (.*)', settings, re.M).group(1)
    opened = catalogs.open_catalog(url, 'try', home, engine.DEFAULT_OPTIONS)
    yield opened
    opened._database._engine.dispose()


@pytest.fixture
def store(tmp_path):
    return FileStore(str(tmp_path / 'store'))


def backend_of(catalog, store):
    settings = SimpleNamespace(repository='try')
    return SimpleNamespace(catalog=catalog, store=store, settings=settings)


def changeset(node: bytes, p1: bytes = PUBLIC, branch: bytes = b'default') -> Changeset:
    return Changeset(node, p1, NULL, branch, b'author', 7, 0, b'text', (b'file',), ())


def bundle(*nodes: bytes) -> Bundle:
    digest = nodes[-1].hex()[:2] * 32
    return Bundle(f'try/{digest[:2]}/{digest}.hg', 10, 'f' * 128, nodes[-1], (PUBLIC,), nodes)


def stack(*nodes: bytes, bundled: bool = True, **options) -> Push:
    """A push of a stack on public history."""
    parents = (PUBLIC, *nodes)
    brought = tuple(changeset(node, parent) for node, parent in zip(nodes, parents))
    bundles = (bundle(*nodes),) if bundled else ()
    return Push(**{
        'user': 'alice', 'changesets': brought, 'bundles': bundles,
        'roots': nodes[:1], **options,
    })  # fmt: skip


def record(catalog, push: Push, stored_again=None) -> Recorded:
    return catalog.write(catalog_record.record, push, stored_again or {})


def known(catalog) -> set[bytes]:
    with catalog.reading() as session:
        return drafts.known(session, [A, B, C, D])


def drop(catalog, keys, nodes, replacements=()) -> list[bytes]:
    return catalog.write(catalog_drop.drop, set(keys), set(nodes), list(replacements), {})


def test_ids_and_what_is_listed(catalog):
    """Each changeset is listed once, with the push that brought it first."""
    assert record(catalog, stack(A, B)) == Recorded(1, (A, B))
    assert record(catalog, stack(A, B)) == Recorded()
    assert record(catalog, stack(A, B, C, user='bob')) == Recorded(2, (C,))
    assert record(catalog, stack(D)) == Recorded(3, (D,))
    with catalog.reading() as session:
        entries = pushlog.entries(session, Selection(), newest=False, limit=None)
        users = [(entry.push_id, entry.user) for entry in entries]
        assert users == [(1, b'alice'), (2, b'bob'), (3, b'alice')]
        assert all(0 <= statements.now(session) - entry.date < 60 for entry in entries)
        listed = pushlog.nodes_of(session, [1, 2, 3])
        nodes = {i: [n for n, _extras in found] for i, found in listed.items()}
        assert nodes == {1: [A, B], 2: [C], 3: [D]}
        assert pushlog.last_push_id(session) == 3


def test_public_changesets(catalog):
    """They are in no bundle, and listed once all the same."""
    assert record(catalog, stack(A, bundled=False, roots=())) == Recorded(1, (A,))
    assert record(catalog, stack(A, bundled=False, roots=())) == Recorded()
    assert record(catalog, stack(A, B)) == Recorded(2, (B,))


def test_what_fails_leaves_nothing(catalog):
    """No row, and no gap in the ids."""
    moves = (BookmarkMove(b'mine', None, D),)
    with pytest.raises(Refused, match='which a bookmark names, is unknown here'):
        record(catalog, stack(A, bookmarks=moves))
    assert known(catalog) == set()
    assert record(catalog, stack(A)).push_id == 1


def test_changesets_of_few_pushes_are_in_memory_at_a_time(catalog, monkeypatch):
    """A hundred pushes of 10,000 changesets took half a GB for one request."""
    for nodes in ((A, B), (C,), (D,)):
        record(catalog, stack(*nodes))
    monkeypatch.setattr(pushlog, '_CHANGESETS', 3)
    has_all = SimpleNamespace(hasnode=lambda node: True)
    repo = SimpleNamespace(headless=SimpleNamespace(read_catalog=catalog), changelog=has_all)
    found = catalog.read(pushlog.entries, Selection(), False, None)
    query = Query(Selection(), None, (), False, False, 2, False)
    batches = json_format._batches(repo, query, found)
    assert [[entry.push_id for entry in batch] for batch in batches] == [[1, 2], [3]]
    assert [push_id for push_id, _line in wire_command._batch(repo, 0, 3)] == [1, 2]
    assert [push_id for push_id, _line in wire_command._batch(repo, 2, 3)] == [3]


def test_branches(catalog):
    brought = (changeset(A), changeset(B, A, b'other'))
    record(catalog, Push('alice', brought, (bundle(A, B),)))
    with catalog.reading() as session:
        for branch, expected in ((b'default', [1]), (b'other', [1]), (b'none', [])):
            found = pushlog.entries(session, Selection(branch=branch), newest=False, limit=None)
            assert [entry.push_id for entry in found] == expected
            assert pushlog.has_branch(session, branch) == bool(expected)


def test_newest_bundle_that_ends_with_a_draft(catalog):
    record(catalog, stack(A))
    record(catalog, stack(A, B, C))
    with catalog.reading() as session:
        for node, head in ((A, A), (B, C), (C, C)):
            assert drafts.bundles_with(session, [node])[node].head == head
        found = drafts.bundles_with(session, [A, B, D])
        assert {node: one.head for node, one in found.items()} == {A: A, B: C}
        found = drafts.bundles_with(session, [A, B, C, D])
        assert {node: one.head for node, one in found.items()} == {A: C, B: C, C: C}
    assert found[B].nodes == (A, B, C) and found[B].bases == (PUBLIC,)


def test_recent_roots(catalog):
    record(catalog, stack(A, B))
    record(catalog, stack(C))
    with catalog.reading() as session:
        recent = drafts.recent_roots(session, 9)
        assert recent == [Parents(C, PUBLIC, NULL), Parents(A, PUBLIC, NULL)]
        assert len(drafts.recent_roots(session, 1)) == 1
        assert {one.node for one in drafts.stacks(session, [B])} == {A, B}
    # A push of it again is a push of its root again.
    record(catalog, stack(A, B))
    with catalog.reading() as session:
        assert {one.node for one in drafts.recent_roots(session, 9)} == {A, C}


def test_moves_of_bookmarks(catalog):
    """Each only from where it is expected."""
    record(catalog, stack(A, B, bookmarks=(BookmarkMove(b'mine', None, A),)))
    for old in (None, B, C):
        with pytest.raises(Raced) as caught:
            record(catalog, stack(A, B, bookmarks=(BookmarkMove(b'mine', old, B),)))
        assert (caught.value.expected, caught.value.found) == (old, A)
    for old, new in ((A, B), (B, None)):
        record(catalog, stack(A, B, bookmarks=(BookmarkMove(b'mine', old, new),)))
        with catalog.reading() as session:
            assert bookmarks.places(session, [b'mine']) == ({b'mine': new} if new else {})
    with pytest.raises(Raced):
        record(catalog, stack(A, B, bookmarks=(BookmarkMove(b'mine', B, None),)))


def test_forgotten(catalog):
    """Also where it would only stand in a bundle."""
    catalog.write(bans.record, 'root', [A], b'why')
    for push in (stack(A), stack(A, B), Push('alice', (), (bundle(A),))):
        with pytest.raises((Refused, Temporary)):
            record(catalog, push)
    with pytest.raises(Refused, match='was removed from this server for good'):
        record(catalog, stack(A))
    assert record(catalog, stack(B)).push_id == 1


def test_a_draft_that_is_let_go_while_it_is_pushed(catalog):
    """The push has no bundle for what was there when it began."""
    record(catalog, stack(A))
    again = stack(A, bundled=False, held=(A,))
    assert record(catalog, again) == Recorded()
    drop(catalog, [bundle(A).key], [A])
    with pytest.raises(Temporary, match='a draft of this push expired at this moment'):
        record(catalog, again)
    assert known(catalog) == set()


def test_a_draft_that_is_pushed_while_it_is_let_go(catalog):
    """It stays, with what it builds on."""
    record(catalog, stack(A, B))
    record(catalog, stack(A, B, C))  # after "expire" has planned
    assert drop(catalog, [bundle(A, B).key], [A, B]) == []
    assert known(catalog) == {A, B, C}
    with catalog.reading() as session:
        assert drafts.bundles_with(session, [B])[B].head == C


def test_dropped(catalog):
    """What stays is in its new bundle; of the others the names are left."""
    mine = (BookmarkMove(b'mine', None, B),)
    record(catalog, stack(A, B, bookmarks=mine))
    assert drop(catalog, [bundle(A, B).key], [B], [bundle(A)]) == [B]
    assert known(catalog) == {A}
    with catalog.reading() as session:
        assert pushlog.tombstoned(session, [A, B]) == {B: 1}
        assert bookmarks.places(session, [b'mine']) == {}
        # Whole hashes and short ones, as texts name them.
        hashes = [A.hex().encode(), A.hex()[:12].encode(), B.hex()[:12].encode(), b'12' * 6]
        assert names.known(session, hashes) == {*hashes[:3]}
        assert [one.node for one in pushlog.changesets_of(session, [1])[1]] == [A, B]
    assert catalog.read(deletions.pending) == [bundle(A, B).key]
    # Pushed again, it is new.
    catalog.write(deletions.finish, [bundle(A, B).key], [])
    since = deletion_of(catalog, bundle(A, B).key)
    assert record(catalog, stack(A, B), since) == Recorded(2, (B,))


def deletion_of(catalog, key: str) -> dict[str, int]:
    """The deletion of an object, as a push is told of it."""
    with pytest.raises(Vanished) as caught:
        record(catalog, Push('x', (), (Bundle(key, 1, '', D, ()),)))
    return dict(caught.value.deletions)


def test_only_what_no_row_has_is_marked(catalog):
    record(catalog, stack(A))
    keys = [bundle(A).key, bundle(B).key]
    assert catalog.write(deletions.mark, keys) == [bundle(B).key]
    assert catalog.read(deletions.pending) == [bundle(B).key]


def test_a_push_beside_a_deletion(catalog):
    """While it lasts it is temporary; after it the object has to be stored again, for each
    deletion once more."""
    record(catalog, stack(D))  # no object is deleted before the first push
    push = stack(A)
    key = bundle(A).key
    catalog.write(deletions.mark, [key])
    with pytest.raises(Temporary, match='is deleting an object'):
        record(catalog, push)
    catalog.write(deletions.finish, [key], [])
    with pytest.raises(Vanished) as first:
        record(catalog, push)
    # It is deleted once more before it is recorded, within the same second.
    catalog.write(deletions.mark, [key])
    catalog.write(deletions.finish, [key], [])
    with pytest.raises(Vanished) as second:
        record(catalog, push, first.value.deletions)
    assert second.value.deletions[key] > first.value.deletions[key]
    assert record(catalog, push, second.value.deletions).push_id == 2
    assert catalog.write(deletions.mark, [key]) == []


def test_marks_outlive_pushes(catalog):
    record(catalog, stack(D))  # no object is deleted before the first push
    catalog.write(deletions.mark, [bundle(A).key, bundle(B).key])
    catalog.write(deletions.finish, [bundle(A).key], [])
    catalog.write(deletions.purge, 60)
    assert deletion_of(catalog, bundle(A).key)  # not older than that
    catalog.write(deletions.purge, -60)
    assert record(catalog, stack(A)).push_id == 2
    assert catalog.read(deletions.pending) == [bundle(B).key]  # until it is done


def test_stored_again(catalog, store, tmp_path):
    """What `lifecycle.upload` does of it: the object is there in the end."""
    record(catalog, stack(D))  # no object is deleted before the first push
    backend = backend_of(catalog, store)
    path = tmp_path / 'file'
    path.write_bytes(b'x')
    key, push = bundle(A).key, stack(A)
    files = [(bundle(A), str(path))]
    upload.put(backend, files)
    asked: list[Deletions] = []

    def recorded(stored_again: Deletions) -> Recorded:
        if len(asked) < 2:
            asked.append(stored_again)
            with delete.required(backend) as deleter:
                assert deleter.remove([key]) == [key]
            assert store.size(key) is None
        return catalog.write(catalog_record.record, push, stored_again)

    assert upload.recorded(backend, files, recorded).push_id == 2
    assert store.size(key) == 1
    assert len(asked) == 2


def test_an_interrupted_deletion(catalog, store, tmp_path):
    """The next one goes on with it, and leaves what rows point at."""
    backend = backend_of(catalog, store)
    (tmp_path / 'file').write_bytes(b'x')
    for one in (bundle(A), bundle(B)):
        store.put(one.key, str(tmp_path / 'file'))
    record(catalog, stack(B))
    catalog.write(deletions.mark, [bundle(A).key])  # and then it was killed
    with delete.required(backend):
        pass
    assert (store.size(bundle(A).key), store.size(bundle(B).key)) == (None, 1)
    assert catalog.read(deletions.pending) == []


class Refusing(FileStore):
    """Deletes nothing."""

    def delete(self, keys):
        return [Undeleted(key, 'AccessDenied', True) for key in keys]


def test_a_refused_deletion(catalog, tmp_path):
    """It is tried again, but is in nobody's way: neither of other objects nor of pushes."""
    store = Refusing(str(tmp_path / 'refusing'))
    backend = backend_of(catalog, store)
    path = tmp_path / 'file'
    path.write_bytes(b'x')
    store.put(bundle(A).key, str(path))
    record(catalog, stack(D))  # no object is deleted before the first push
    with delete.required(backend) as deleter:
        assert deleter.remove([bundle(A).key]) == []
        assert list(deleter.undeleted) == [bundle(A).key]
    assert catalog.read(deletions.pending) == []
    assert catalog.read(deletions.refused) == [bundle(A).key]
    files = [(bundle(A), str(path))]
    pushed = upload.recorded(backend, files, lambda again: record(catalog, stack(A), again))
    assert pushed.push_id == 2
    assert catalog.read(deletions.refused) == []
    # Now it has a row, and nobody deletes it.
    backend.store = FileStore(str(tmp_path / 'refusing'))
    with delete.required(backend) as deleter:
        deleter.try_again()
        assert deleter.remove([bundle(A).key]) == []
    assert backend.store.size(bundle(A).key) == 1


@pytest.mark.parametrize('store_type', [FileStore, Refusing])
def test_a_push_after_an_interrupted_deletion(catalog, tmp_path, store_type):
    """As soon as it is certain that nobody deletes, the push finishes it, and stores again."""
    store = store_type(str(tmp_path / 'other'))
    backend = backend_of(catalog, store)
    path = tmp_path / 'file'
    path.write_bytes(b'x')
    store.put(bundle(A).key, str(path))
    record(catalog, stack(D))
    now = int(time.time())
    files = [(bundle(A), str(path))]

    def push():
        return upload.recorded(backend, files, lambda again: record(catalog, stack(A), again))

    catalog.write(deletions.mark, [bundle(A).key])  # and then it was killed
    with pytest.raises(Temporary, match='is deleting an object'):
        push()
    before = now - deletions.ABANDONED - 5
    catalog.write(lambda session: session.execute(update(pending_deletions).values(since=before)))
    with delete.opened(backend):  # or was it?
        with pytest.raises(Temporary, match='is deleting an object'):
            push()
    assert push().push_id == 2
    assert store.size(bundle(A).key) == 1
    with delete.required(backend):
        pass
    assert store.size(bundle(A).key) == 1


def test_one_at_a_time(catalog, store, monkeypatch):
    backend = backend_of(catalog, store)
    with delete.opened(backend) as one:
        assert one is not None
        with delete.opened(backend) as other:
            assert other is None
        with pytest.raises(Temporary, match='another gc, expire or obliterate'):
            with delete.required(backend):
                pass
    with delete.opened(backend) as again:
        assert again is not None
    assert coordination.LENGTH > 30  # a process that sleeps no longer than this keeps it
