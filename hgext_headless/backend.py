"""The settings of a headless repository, with its catalog and its store.

Importing SQLAlchemy and botocore takes longer than importing hg. So they are imported, and
connections are opened, only when a draft is pushed or requested.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import importlib
import os
import sys
from typing import Any, Callable
from urllib.parse import urlsplit

from . import config, lazy, requirement, store as stores
from .catalog import catalog as catalogs, diagnosis, engine, epochs
from .errors import Misconfigured
from .store import cache, files, s3

#: Whether this process has: hgwebdir makes an hgweb for each request.
_has_preloaded = False


class Backend:
    """The settings, catalog and store of one repository: its attribute ``headless``.

    Opening one of them raises `errors.Misconfigured`; the catalog also `errors.Temporary` if the
    embedded database cannot be created.
    """

    def __init__(self, repo: Any) -> None:
        self.settings = config.settings(repo)
        self._ui = repo.ui
        # By process: a forked child must not use its parent's connections.
        self._opened: dict[tuple[int, str], Any] = {}
        # One that is headless already has a database: its setting, or the file, is lost.
        self._may_make_database = requirement.NAME not in repo.requirements
        #: The draft roots of the pushes that this process has taken from one client.
        self.pushed_roots: set[bytes] = set()
        #: Whether this process has sent drafts.
        self.has_sent_drafts = False

    def of(self, repository: str) -> Backend:
        """Return the same for another repository of this database."""
        other = copy.copy(self)
        other._opened = {}
        other.settings = dataclasses.replace(self.settings, repository=repository)
        return other

    @property
    def catalog(self) -> catalogs.Catalog:
        """The catalog that pushes and pulls use."""
        return self._catalog(self.settings.database)

    @property
    def read_catalog(self) -> catalogs.Catalog:
        """The catalog for pages and the pushlog, which may lag behind `catalog`."""
        return self._catalog(self.settings.database_read).for_pages()

    @property
    def store(self) -> stores.Store:
        return self._once('store', self._open_store)

    @property
    def cached_store(self) -> stores.Source:
        """The store with the local cache in front of it, for objects that are read repeatedly."""
        if not self.settings.cache_size or self.store.local_path('') is not None:
            return self.store
        return self.cache

    @property
    def cache(self) -> cache.Cached:
        """The local cache."""
        return cache.Cached(self.store, self.settings.cache_dir, self.settings.cache_size)

    def _catalog(self, url: str) -> catalogs.Catalog:
        return self._once(url, functools.partial(self._open_catalog, url))

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        key = lazy.process(), name
        if key not in self._opened:
            if b'REQUEST_METHOD' in self._ui.environ:
                lazy.settle()
            try:
                with lazy.without_gc():
                    if name != 'store':
                        # A module of ours that it fails in could be asked only once.
                        importlib.import_module('sqlalchemy')
                    self._opened[key] = make()
            except ImportError as exc:
                raise Misconfigured(f'a package is missing on the server: {exc}') from exc
        return self._opened[key]

    def _open_catalog(self, url: str) -> catalogs.Catalog:
        settings = self.settings
        kept = urlsplit(config.default_store(settings.home)).path
        may_make = self._may_make_database and not os.path.isdir(kept)
        if settings.embedded_database and not may_make and not catalogs.is_made(url):
            raise Misconfigured(
                'headless.database is not set, and the embedded database is missing: set it, or '
                'put the file back, or make a new one with "hg admin::headless-init" and fill it '
                'with "hg admin::headless-rebuild"',
                settings.home,
            )
        return catalogs.open_catalog(
            url,
            settings.repository,
            settings.home if settings.embedded_database else None,
            engine.Options(
                settings.database_pool_size,
                settings.database_connect_timeout,
                settings.database_timeout,
            ),
        )

    def _open_store(self) -> stores.Store:
        settings = self.settings
        if settings.store_is_s3:
            return s3.open_s3(settings.store, settings.s3_endpoint_url, settings.s3_region)
        is_default = settings.store == config.default_store(settings.home)
        must_exist = self._has_objects if is_default else lambda: True
        return files.FileStore(urlsplit(settings.store).path, must_exist)

    def _has_objects(self) -> bool:
        """Return whether there are rows of objects: then the folder of a file store must exist."""
        return self.catalog.read(diagnosis.probe) is not None

    def make_repository(self) -> None:
        """Make the repository in the database, and the embedded database, if they are missing."""
        self._may_make_database = True
        self.catalog.write(epochs.make)

    def make_store(self) -> None:
        """Make the folder of a file store: what ``headless-init`` and ``headless-import`` do."""
        if isinstance(self.store, files.FileStore) and not self._has_objects():
            self.store.make()

    def is_opened(self) -> bool:
        """Return whether this process has opened any catalog."""
        return 'sqlalchemy' in sys.modules

    def disconnect(self) -> None:
        """Give the connections of this process back to the database, until it needs one."""
        for (process, name), opened in self._opened.items():
            if process == lazy.process() and name != 'store':
                opened.disconnect()

    def preload(self) -> None:
        """Import what pages and pushes need, in a process that serves many or forks for each.

        It is done once. Nothing is created, and no connection stays. Ignore errors: they occur
        again, and are reported, where it is needed.
        """
        global _has_preloaded
        if not _has_preloaded:
            _has_preloaded = True
            for name in ('store', 'catalog') if self._has_database() else ('store',):
                with contextlib.suppress(Exception):
                    getattr(self, name)
            self.disconnect()

    def _has_database(self) -> bool:
        """Return whether opening the catalog creates nothing."""
        return not self.settings.embedded_database or os.path.exists(self.settings.home)

    def steps(self) -> list[Callable[[], None]]:
        """Return functions that prepare for a push of drafts, one after the other.

        They import packages, open the catalog and the store, and connect. Nothing is created.
        """
        packages = ['sqlalchemy']
        if not self.settings.embedded_database:
            packages += ['psycopg2', 'sqlalchemy.dialects.postgresql']
        if self.settings.store_is_s3:
            packages.append('botocore.session')
        steps: list[Callable[[], Any]] = [
            functools.partial(importlib.import_module, package) for package in packages
        ]
        if self._has_database():
            # Here the schema is checked too, on a connection that the push uses then.
            steps += [lambda: self.catalog, lambda: self.catalog.fail_fast().check()]
        steps.append(lambda: self.store)
        return steps


def attach(repo: Any) -> Backend:
    """Give a repository its attribute ``headless``, unless it has it; return that."""
    repo = repo.unfiltered()
    if 'headless' not in vars(repo):
        repo.headless = Backend(repo)
    return repo.headless
