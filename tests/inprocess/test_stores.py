"""What a store promises, of each back end: a folder, and a real S3 server."""

from __future__ import annotations

import hashlib
import itertools
import time
import urllib.request
from pathlib import Path

import pytest
import services as running

from hgext_headless.errors import Corrupt, Temporary
from hgext_headless.store import Object, S3Options, Store, object_keys, opening
from hgext_headless.store.nearer import WithReplica

CONTENT = b'HG10UN data'
_prefixes = itertools.count()


def key_of(content: bytes, repository: str = 'try') -> str:
    return object_keys.key(repository, hashlib.sha256(content).hexdigest())


KEY = key_of(CONTENT)


@pytest.fixture(params=['file', 's3', 'replica'])
def store(request, tmp_path, monkeypatch) -> Store:
    """An empty one; its replica too, if it has one."""
    if request.param in ('file', 'replica'):
        made = opening.open_store(f'file://{tmp_path}/store', S3Options())
        if request.param == 'file':
            return made
        return WithReplica(
            made, opening.open_store(f'file://{tmp_path}/replica', S3Options())
        )
    services = request.getfixturevalue('services')
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', running.ACCESS_KEY)
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', running.SECRET_KEY)
    url = f's3://{running.BUCKET}/contract{next(_prefixes)}'
    return opening.open_store(url, S3Options(services.endpoint, 'us-east-1'))


class TestStore:
    """The contract of `store.Store`."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    def put(self, store: Store, content: bytes, key: str = '') -> str:
        path = self.folder / 'object'
        path.write_bytes(content)
        store.put(key or key_of(content), str(path))
        return key or key_of(content)

    def get(self, store: Store, key: str) -> bytes:
        store.get(key, str(self.folder / 'back'))
        return (self.folder / 'back').read_bytes()

    def test_check(self, store):
        store.check()

    @pytest.mark.parametrize('content', [b'', CONTENT, bytes(range(256)) * 20_000])
    def test_put_and_get(self, store, content):
        key = self.put(store, content)
        assert self.get(store, key) == content
        assert store.size(key) == len(content)
        assert store.sha256(key) == object_keys.digest(key)

    def test_absent(self, store):
        assert store.size(KEY) is None
        for ask in (store.sha256, lambda key: self.get(store, key)):
            with pytest.raises(Corrupt, match=f'the store has no object {KEY}'):
                ask(KEY)

    def test_again(self, store):
        """An object that is there already stays as it is."""
        self.put(store, CONTENT)
        (before,) = store.objects('try/')
        time.sleep(1.1)  # what S3 tells of times is in seconds
        self.put(store, CONTENT)
        assert list(store.objects('try/')) == [before]

    @pytest.mark.parametrize('other', [b'HG10UN DATA', b'HG10UN data and more', b''])
    def test_other_content_under_the_name(self, store, other):
        self.put(store, other, KEY)
        with pytest.raises(Temporary, match=f'has other content under the name {KEY}'):
            self.put(store, CONTENT)
        assert self.get(store, KEY) == other
        assert store.sha256(KEY) == hashlib.sha256(other).hexdigest()

    def test_objects(self, store):
        """Those of one prefix, whole."""
        before = time.time()
        contents = [b'%d' % number for number in range(12)]
        keys = {self.put(store, content): len(content) for content in contents}
        self.put(store, CONTENT, key_of(CONTENT, 'tryst'))
        found = list(store.objects('try/'))
        assert {one.key: one.size for one in found} == keys
        assert all(isinstance(one, Object) for one in found)
        assert all(before - 2 <= one.modified <= time.time() + 2 for one in found)
        prefixes = object_keys.prefixes('try')
        by_prefix = [one.key for prefix in prefixes for one in store.objects(prefix)]
        assert sorted(by_prefix) == sorted(keys)
        assert list(store.objects('none/')) == []

    def test_delete(self, store):
        one, two, three = (self.put(store, content) for content in (b'1', b'2', b'3'))
        store.delete([one, two, KEY])  # the last was never there
        assert [found.key for found in store.objects('try/')] == [three]
        assert store.size(one) is None
        store.delete([])
        assert self.put(store, b'1') == one
        assert self.get(store, one) == b'1'

    def test_for_clients(self, store):
        """By a URL, or from a file of this machine."""
        self.put(store, CONTENT)
        url, path = store.url(KEY, 60), store.local_path(KEY)
        assert (url is None) != (path is None)
        if path is not None:
            assert Path(path).read_bytes() == CONTENT
        else:
            with urllib.request.urlopen(url) as answer:
                assert answer.read() == CONTENT

    def test_abandoned(self, store):
        """What is stored is not, however old it is."""
        self.put(store, CONTENT)
        assert store.remove_abandoned('try', time.time() + 1000) == 0
        assert self.get(store, KEY) == CONTENT


class TestReplica:
    """What is there is read there; all else is done with the store."""

    @pytest.fixture
    def both(self, tmp_path) -> tuple[Store, Store, Store]:
        store = opening.open_store(f'file://{tmp_path}/store', S3Options())
        nearer = opening.open_store(f'file://{tmp_path}/replica', S3Options())
        (tmp_path / 'object').write_bytes(CONTENT)
        return store, nearer, WithReplica(store, nearer)

    def test_before_and_after_it_got_there(self, both, tmp_path):
        store, nearer, combined = both
        combined.put(KEY, str(tmp_path / 'object'))
        assert nearer.size(KEY) is None
        assert combined.local_path(KEY) == store.local_path(KEY)
        combined.get(KEY, str(tmp_path / 'back'))
        nearer.put(KEY, str(tmp_path / 'object'))
        assert combined.local_path(KEY) == nearer.local_path(KEY)
        assert combined.sha256(KEY) == object_keys.digest(KEY)
        store.delete([KEY])
        combined.get(KEY, str(tmp_path / 'again'))
        assert (tmp_path / 'again').read_bytes() == CONTENT

    def test_altered_replica(self, both, tmp_path):
        """A link would lead there, so its digest is told."""
        _store, nearer, combined = both
        combined.put(KEY, str(tmp_path / 'object'))
        path = Path(nearer.local_path(KEY))
        path.parent.mkdir(parents=True)
        path.write_bytes(b'altered')
        assert combined.sha256(KEY) != object_keys.digest(KEY)


class TestParts:
    """Large objects are uploaded in parts, as promised for others."""

    @pytest.fixture
    def parts(self, request, monkeypatch, services, tmp_path):
        from hgext_headless.store import s3

        monkeypatch.setenv('AWS_ACCESS_KEY_ID', running.ACCESS_KEY)
        monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', running.SECRET_KEY)
        monkeypatch.setattr(s3, 'PARTS_ABOVE', 6 << 20)
        monkeypatch.setattr(s3, 'PART', 5 << 20)
        options = S3Options(services.endpoint, 'us-east-1', storage_class='STANDARD')
        return opening.open_store(f's3://{running.BUCKET}/parts{next(_prefixes)}', options)

    def test_large(self, parts, tmp_path):
        content = bytes(range(251)) * 50_000
        path = tmp_path / 'object'
        path.write_bytes(content)
        key = key_of(content)
        parts.put(key, str(path))
        parts.put(key, str(path))
        assert parts.size(key) == len(content)
        parts.get(key, str(tmp_path / 'back'))
        assert (tmp_path / 'back').read_bytes() == content
        other = content[:-1] + b'?'
        path.write_bytes(other)
        with pytest.raises(Temporary, match='other content'):
            parts.put(key, str(path))
        parts.get(key, str(tmp_path / 'back'))
        assert (tmp_path / 'back').read_bytes() == content
