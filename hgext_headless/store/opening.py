"""Choosing the back end of the store by its URL."""

from __future__ import annotations

import importlib
from typing import Optional
from urllib.parse import urlsplit

from . import Store, files


def open_store(
    url: str, endpoint_url: Optional[str] = None, region: Optional[str] = None
) -> Store:
    """The store at ``s3://bucket/prefix`` or ``file:///folder``; nothing is opened yet."""
    parts = urlsplit(url)
    if parts.scheme == 's3':
        s3 = importlib.import_module('hgext_headless.store.s3')
        opened: Store = s3.open_s3(parts.netloc, parts.path.strip('/'), endpoint_url, region)
        return opened
    return files.FileStore(parts.path)
