"""The names of objects."""

from __future__ import annotations


def key(repository: str, digest: str) -> str:
    """The object's name: ``<repository>/<2 hex>/<sha256>.hg``."""
    return f'{repository}/{digest[:2]}/{digest}.hg'


def digest(key: str) -> str:
    """The SHA-256 of the object's content, hexadecimal."""
    return key.rsplit('/', 1)[-1][: -len('.hg')]
