"""What a store promises, of each back end: a folder, and a real S3 server."""

from __future__ import annotations

import hashlib
import itertools
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import services as running

from hgext_headless import store as stores
from hgext_headless.errors import Corrupt, Temporary
from hgext_headless.model import Bundle
from hgext_headless.store import Object, Store, files, s3
from hgext_headless.wire import getbundle

CONTENT = b'HG10UN data'
_prefixes = itertools.count()


def key_of(content: bytes, repository: str = 'try') -> str:
    return stores.key(repository, hashlib.sha256(content).hexdigest())


KEY = key_of(CONTENT)


@pytest.fixture(params=['file', 's3'])
def store(request, tmp_path, monkeypatch) -> Store:
    """An empty one."""
    if request.param == 'file':
        return files.FileStore(f'{tmp_path}/store')
    services = request.getfixturevalue('services')
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', running.ACCESS_KEY)
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', running.SECRET_KEY)
    # No bundle is empty. With one, botocore 1.42 (for Python 3.9) misreads the next answer.
    monkeypatch.setenv('BOTO_EXPERIMENTAL__NO_EMPTY_CONTINUE', 'true')
    url = f's3://{running.BUCKET}/contract{next(_prefixes)}'
    return s3.open_s3(url, services.endpoint, 'us-east-1')


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
        assert store.sha256(key) == stores.digest(key)

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

    def test_objects(self, store, monkeypatch):
        """Those of one prefix, whole."""
        before = time.time()
        contents = [b'%d' % number for number in range(12)]
        keys = {self.put(store, content): len(content) for content in contents}
        self.put(store, CONTENT, key_of(CONTENT, 'tryst'))
        found = list(store.objects('try/'))
        assert {one.key: one.size for one in found} == keys
        assert all(isinstance(one, Object) for one in found)
        assert all(before - 2 <= one.modified <= time.time() + 2 for one in found)
        for page, number in ((len(keys) + 1, 1), (len(keys), 256)):
            monkeypatch.setattr(stores, '_PAGE', page)
            prefixes = stores.parts(store, 'try')
            assert len(prefixes) == number
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


def test_digest_is_compared_once_an_hour(tmp_path, monkeypatch):
    """By a process that answers with many links to one object."""
    read: list[str] = []

    class Watched(files.FileStore):
        def sha256(self, key: str) -> str:
            read.append(key)
            return super().sha256(key)

    store = Watched(f'{tmp_path}/store')
    (tmp_path / 'object').write_bytes(CONTENT)
    store.put(KEY, f'{tmp_path}/object')
    bundle = Bundle(KEY, len(CONTENT), '', bytes(20), (), ())
    memory: dict[str, float] = {}
    backend = SimpleNamespace(store=store, catalog=SimpleNamespace(memory=lambda _name: memory))
    clock = 1000.0
    monkeypatch.setattr(getbundle.time, 'monotonic', lambda: clock)
    for clock, times in ((1000.0, 1), (1001.0, 1), (9000.0, 2), (9001.0, 2), (9002.0, 2)):
        getbundle._check_object(backend, bundle)
        assert len(read) == times, clock
