"""Objects are uploaded in order, or several at a time."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from mercurial import demandimport

from hgext_headless.errors import Temporary
from hgext_headless.lifecycle import upload
from hgext_headless.model import Bundle


@pytest.fixture
def lazily():
    """As in a process of hg: modules are loaded when they are used."""
    demandimport.enable()
    yield
    demandimport.disable()


class Store:
    """Notes what is put, by which threads, and whether modules are loaded lazily meanwhile."""

    def __init__(self, broken: str = '') -> None:
        self.put_keys: list[str] = []
        self.threads: set[int] = set()
        self.lazily: set[bool] = set()
        self._broken = broken

    def put(self, key: str, path: str) -> None:
        if key == self._broken:
            raise Temporary('the store failed')
        self.put_keys.append(key)
        self.threads.add(threading.get_ident())
        self.lazily.add(demandimport.isenabled())


def files(number: int) -> list[tuple[Bundle, str]]:
    return [(Bundle(f'key{n}', 1, '', b'', ()), f'path{n}') for n in range(number)]


def test_few(lazily):
    """By the thread of the push, in order; nothing is loaded for it."""
    store = Store()
    upload.put(SimpleNamespace(store=store), files(3))
    assert store.put_keys == ['key0', 'key1', 'key2']
    assert store.threads == {threading.get_ident()} and store.lazily == {True}


def test_many(lazily):
    """By several threads, for which nothing is loaded lazily: that is not thread-safe."""
    store = Store()
    upload.put(SimpleNamespace(store=store), files(40))
    assert sorted(store.put_keys) == sorted(f'key{n}' for n in range(40))
    assert threading.get_ident() not in store.threads and store.lazily == {False}


@pytest.mark.parametrize('number', [3, 40])
def test_one_that_fails(number):
    with pytest.raises(Temporary, match='the store failed'):
        upload.put(SimpleNamespace(store=Store('key2')), files(number))
