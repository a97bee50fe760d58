"""The names of objects."""

from __future__ import annotations

import re
from collections.abc import Iterator


def key(repository: str, digest: str) -> str:
    """The object's name: ``<repository>/<2 hex>/<sha256>.hg``."""
    return f'{repository}/{digest[:2]}/{digest}.hg'


def digest(key: str) -> str:
    """The SHA-256 of the object's content, hexadecimal."""
    return key.rsplit('/', 1)[-1][: -len('.hg')]


def is_key(key: str) -> bool:
    """Whether a name is one that `key` makes: other objects are nobody's business."""
    return re.fullmatch(r'[^/]+/([0-9a-f]{2})/\1[0-9a-f]{62}\.hg', key) is not None


def prefixes(repository: str) -> Iterator[str]:
    """What the keys of a repository begin with: 256 parts of about the same size."""
    for number in range(256):
        yield f'{repository}/{number:02x}/'
