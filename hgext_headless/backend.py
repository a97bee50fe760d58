"""A headless repository's settings, with its catalog and its store.

SQLAlchemy and boto3 take longer to import than hg itself: they are imported,
and connections opened, when a draft is really pushed or asked for.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from . import config, lazy
from .store import cache

if TYPE_CHECKING:
    from .catalog.catalog import Catalog
    from .store import Source, Store


_CATALOG = 'hgext_headless.catalog.catalog'


class Backend:
    """Made for one request or push, and passed on."""

    def __init__(self, repo: Any) -> None:
        if b'REQUEST_METHOD' in repo.ui.environ:
            lazy.settle()
        self.settings = config.settings(repo)

    @functools.cached_property
    def catalog(self) -> Catalog:
        """Raises `errors.Misconfigured`, and `errors.Temporary` where the embedded
        database can't be made."""
        return self._catalog(self.settings.database)

    @functools.cached_property
    def reader(self) -> Catalog:
        """The catalog that pages and the pushlog are read from: it may lag behind the other.
        Raises the same."""
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
        """Raises `errors.Misconfigured`."""
        settings = self.settings
        with lazy.eager_imports():
            store: Store = lazy.load('hgext_headless.store.opening').open_store(
                settings.store, settings.s3_endpoint_url, settings.s3_region
            )
        return store

    @functools.cached_property
    def source(self) -> Source:
        """The store with the local cache before it, where objects are read again and
        again. Raises `errors.Misconfigured`."""
        if not self.settings.cache_size or self.store.local_path('') is not None:
            return self.store
        return self.cache

    @functools.cached_property
    def cache(self) -> cache.Cached:
        """Raises `errors.Misconfigured`."""
        return cache.Cached(self.store, self.settings.cache_dir, self.settings.cache_size)

    def is_opened(self) -> bool:
        """Whether this process has ever asked a catalog."""
        return _CATALOG in sys.modules

    def warm_up(self) -> None:
        """Import and open what a push of drafts needs, while the client is still sending.

        What fails here fails again, and is told, where it is needed.
        """
        for opened in ('catalog', 'store'):
            try:
                getattr(self, opened)
            except Exception:  # told by the push itself
                return
