"""What a server tries with the store."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from hgext_headless.errors import Temporary
from hgext_headless.lifecycle import store_rights
from hgext_headless.store import object_keys
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
    return [o.key for o in backend.store.objects('try/') if object_keys.is_key(o.key)]


def test_all(backend):
    assert store_rights.check(backend)
    assert objects(backend) == []


@pytest.mark.parametrize(
    ('verb', 'right'), [('put', 's3:PutObject'), ('get', 's3:GetObject'), ('objects', 's3:List')]
)
def test_missing(backend, verb, right):
    """It is named, and nothing is left."""
    backend.store.refused = (verb,)
    with pytest.raises(Temporary, match=right):
        store_rights.check(backend)
    assert objects(backend) == []


def test_may_not_delete(backend):
    """As a push server by its policy: no error, and gc finds the object."""
    backend.store.refused = ('delete',)
    assert not store_rights.check(backend)
    [key] = objects(backend)
    shutil.rmtree(backend.store.local_path('try'))
    assert key.startswith('try/')
