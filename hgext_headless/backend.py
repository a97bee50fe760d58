"""The settings of a headless repository, with its catalog and its store.

Importing SQLAlchemy and boto3 takes longer than importing hg. So they are imported, and
connections are opened, only when a draft is pushed or requested.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import config, lazy
from .store import cache, files

if TYPE_CHECKING:
    from .catalog.catalog import Catalog
    from .store import Source, Store


_CATALOG = 'hgext_headless.catalog.catalog'


class Backend:
    """The settings, catalog and store of one repository.

    One is created for each request, push or command, and passed on.
    """

    def __init__(self, repo: Any) -> None:
        if b'REQUEST_METHOD' in repo.ui.environ:
            lazy.settle()
        self.settings = config.settings(repo)

    def of(self, repository: str) -> Backend:
        """Return the same for another repository of this database."""
        other = copy.copy(self)
        for name in ('catalog', 'reader', 'cache'):
            other.__dict__.pop(name, None)
        other.settings = dataclasses.replace(self.settings, repository=repository)
        return other

    @functools.cached_property
    def catalog(self) -> Catalog:
        """The catalog that pushes and pulls use.

        Raises `errors.Misconfigured`, and `errors.Temporary` if the embedded database cannot be
        created.
        """
        return self._catalog(self.settings.database)

    @functools.cached_property
    def reader(self) -> Catalog:
        """The catalog for pages and the pushlog, which may lag behind `catalog`.

        Raises the same errors.
        """
        settings = self.settings
        if settings.database_read == settings.database:
            return self.catalog
        return self._catalog(settings.database_read)

    def _catalog(self, url: str) -> Catalog:
        settings = self.settings
        with lazy.eager_imports():
            module = lazy.load(_CATALOG)
            catalog: Catalog = module.open_catalog(
                url,
                settings.repository,
                settings.home if settings.embedded_database else None,
                module.engine.Options(
                    settings.database_pool_size,
                    settings.database_connect_timeout,
                    settings.database_timeout,
                ),
            )
        return catalog

    @functools.cached_property
    def store(self) -> Store:
        """The store. Raises `errors.Misconfigured`."""
        settings = self.settings
        if settings.store_is_s3:
            with lazy.eager_imports():
                s3 = lazy.load('hgext_headless.store.s3')
                opened: Store = s3.open_s3(
                    settings.store, settings.s3_endpoint_url, settings.s3_region
                )
            return opened
        return files.FileStore(urlsplit(settings.store).path)

    @functools.cached_property
    def source(self) -> Source:
        """The store with the local cache in front of it, for objects that are read repeatedly.

        Raises `errors.Misconfigured`.
        """
        if not self.settings.cache_size or self.store.local_path('') is not None:
            return self.store
        return self.cache

    @functools.cached_property
    def cache(self) -> cache.Cached:
        """The local cache. Raises `errors.Misconfigured`."""
        return cache.Cached(self.store, self.settings.cache_dir, self.settings.cache_size)

    def is_opened(self) -> bool:
        """Return whether this process has opened any catalog."""
        return _CATALOG in sys.modules

    def preload(self) -> None:
        """Import what pages and pushes need, in a process that serves many or forks for each.

        Nothing is created. Ignore errors: they are reported by what needs it. It is done once in
        a process: hgwebdir makes an hgweb for each request.
        """
        if self.is_opened():
            return
        opened = ['store']
        if not self.settings.embedded_database or os.path.exists(self.settings.home):
            opened.append('catalog')
        for name in opened:
            with contextlib.suppress(Exception):
                getattr(self, name)

    def warm_up(self) -> None:
        """Import and open what a push of drafts needs, while the client is still sending.

        Ignore errors: they occur again, and are reported, where it is needed.
        """
        for opened in ('catalog', 'store'):
            try:
                getattr(self, opened)
            except Exception:  # reported by the push
                return
