"""What a server tries with the store."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pytest

from hgext_headless import store as stores
from hgext_headless.errors import Misconfigured, Temporary
from hgext_headless.lifecycle import delete
from hgext_headless.store import Undeleted
from hgext_headless.store.files import FileStore


class Limited(FileStore):
    """A store that refuses some verbs."""

    refused: tuple[str, ...] = ()

    def __getattribute__(self, name):
        if name in object.__getattribute__(self, 'refused'):
            raise Temporary('the store refuses the credentials of this server')
        return object.__getattribute__(self, name)


@pytest.fixture
def backend(tmp_path):
    store = Limited(str(tmp_path / 'store'))
    return SimpleNamespace(store=store, settings=SimpleNamespace(repository='try'))


def objects(backend) -> list[str]:
    backend.store.refused = ()
    return [o.key for o in backend.store.objects('try/')]


def test_all(backend):
    assert delete.check(backend)
    assert objects(backend) == []


@pytest.mark.parametrize(
    ('verb', 'right'), [('put', 's3:PutObject'), ('get', 's3:GetObject'), ('objects', 's3:List')]
)
def test_missing(backend, verb, right):
    """It is named, and nothing is left."""
    backend.store.refused = (verb,)
    with pytest.raises(Temporary, match=right):
        delete.check(backend)
    assert objects(backend) == []


def test_may_not_delete(backend):
    """As a push server by its policy: no error. What is left has a place of its own."""
    backend.store.delete = lambda keys: [Undeleted(key, 'AccessDenied', True) for key in keys]
    assert not delete.check(backend)
    [key] = objects(backend)
    assert not stores.is_key(key) and not stores.is_foreign('try', key)
    assert stores.is_foreign('try', 'try/README')
    shutil.rmtree(backend.store.local_path('try'))


def test_what_a_refusal_to_delete_is(backend):
    """Only a denial is a right that a push server does not need."""
    backend.store.delete = lambda keys: [Undeleted(key, 'NotImplemented: no') for key in keys]
    with pytest.raises(Misconfigured, match='does not delete objects: NotImplemented: no'):
        delete.check(backend)
    backend.store.refused = ('delete',)
    with pytest.raises(Temporary, match='refuses the credentials'):
        delete.check(backend)


def test_overwriting_store(backend):
    """It takes conditional writes, and does not look at the condition."""

    def put(key, path):
        target = backend.store._path(key)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(path, target)

    backend.store.put = put
    with pytest.raises(Misconfigured, match='ignores If-None-Match'):
        delete.check(backend)
    assert objects(backend) == []
