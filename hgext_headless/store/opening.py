"""Choose the back end of the store by its URL."""

from __future__ import annotations

import importlib
from urllib.parse import urlsplit

from . import S3Options, Store, files


def open_store(url: str, options: S3Options) -> Store:
    """Return the store at ``s3://bucket/prefix`` or ``file:///folder``, without opening it."""
    parts = urlsplit(url)
    if parts.scheme == 's3':
        s3 = importlib.import_module('hgext_headless.store.s3')
        opened: Store = s3.open_s3(parts.netloc, parts.path.strip('/'), options)
        return opened
    return files.FileStore(parts.path)
