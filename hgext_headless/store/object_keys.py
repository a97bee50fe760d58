"""The keys of objects."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator


def key(repository: str, digest: str) -> str:
    """Return the object's key: ``<repository>/<2 hex>/<sha256>.hg``."""
    return f'{repository}/{digest[:2]}/{digest}.hg'


def digest(key: str) -> str:
    """Return the SHA-256 of the object's content, hexadecimal, from its key."""
    return key.rsplit('/', 1)[-1][: -len('.hg')]


def is_key(key: str) -> bool:
    """Return whether ``key`` has the form of our keys. Other objects are ignored."""
    return re.fullmatch(r'[^/]+/([0-9a-f]{2})/\1[0-9a-f]{62}\.hg', key) is not None


def probe(repository: str) -> str:
    """Return the key of a new object with which a server tries what it may do."""
    return f'{probes(repository)}{secrets.token_hex(16)}'


def probes(repository: str) -> str:
    """Return the prefix of the keys that `probe` makes."""
    return f'{repository}/probe/'


def obliterated(repository: str, node: str) -> str:
    """Return the key of the object that says that a draft was removed for good."""
    return f'{obliterations(repository)}{node}'


def obliterations(repository: str) -> str:
    """Return the prefix of the keys that `obliterated` makes; a node follows, hexadecimal."""
    return f'{repository}/obliterated/'


def is_foreign(repository: str, key: str) -> bool:
    """Return whether nothing of ours has made an object of this name."""
    ours = (probes(repository), obliterations(repository))
    return not (is_key(key) or key.startswith(ours))


def prefixes(repository: str) -> Iterator[str]:
    """Yield 256 prefixes that divide a repository's keys into parts of about equal size."""
    for number in range(256):
        yield f'{repository}/{number:02x}/'
