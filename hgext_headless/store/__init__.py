"""The store: objects by key, with the same few methods for each back end; the names of objects.

`s3` and `files` are the back ends, `cache` a local cache in front of one.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, Protocol

#: Number of objects that a request lists.
_PAGE = 1000


class Object(NamedTuple):
    """An object as a store lists it.

    ``size`` is in bytes, ``modified`` in seconds since the epoch.
    """

    key: str
    size: int
    modified: float


class Undeleted(NamedTuple):
    """An object that the store did not delete, with what it said.

    ``is_denied``: this server may not delete it.
    """

    key: str
    said: str
    is_denied: bool = False


class Source(Protocol):
    """What objects are read from: a store, or a cache in front of it."""

    def get(self, key: str, path: str) -> None:
        """Write the object to the file ``path``.

        Raise `errors.Corrupt` if there is no such object.
        """


class Store(Source, Protocol):
    """Objects by key.

    Every method raises `errors.Temporary` if the back end does not answer within its deadline,
    and `errors.Misconfigured`.
    """

    def put(self, key: str, path: str) -> None:
        """Store the file ``path`` durably, and check that the store has it.

        An existing object is not overwritten, because a key is the digest of its content. Raise
        `errors.Temporary` if the store has other content under that key.
        """

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes; None if there is no such object."""

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of the object's content in the store, hexadecimal.

        Read the whole object if the store does not tell its digest. Raise `errors.Corrupt` if
        there is no such object.
        """

    def url(self, key: str, seconds: int) -> str | None:
        """Return a URL from which anyone can read the object for ``seconds``.

        Return None if this process has to stream the file at `local_path`.
        """

    def local_path(self, key: str) -> str | None:
        """Return the path of the object's file; None if objects are not files."""

    def objects(self, prefix: str) -> Iterator[Object]:
        """Yield the objects whose keys begin with ``prefix``, in no order.

        It must end with a slash.
        """

    def delete(self, keys: Sequence[str]) -> list[Undeleted]:
        """Delete objects; return those that the store refused to delete, and surely keeps.

        Missing ones are ignored. After an error, any of them may be deleted, now or later.
        """

    def remove_abandoned(self, repository: str, before: float) -> int:
        """Remove files that dead writers left in the store; return their number.

        Only files older than ``before``, in seconds since the epoch, are removed.
        """

    def check(self) -> None:
        """Check that the back end exists, answers, and accepts our credentials."""


def key(repository: str, digest: str) -> str:
    """Return the object's key: ``<repository>/<2 hex>/<sha256>.hg``."""
    return f'{repository}/{digest[:2]}/{digest}.hg'


def digest(key: str) -> str:
    """Return the SHA-256 of the object's content, hexadecimal, from its key."""
    return key.rsplit('/', 1)[-1][: -len('.hg')]


def hashed(file: BinaryIO, *names: str) -> list[Any]:
    """Return the digests, of `hashlib`, of what is left of a file."""
    digests = [hashlib.new(name, usedforsecurity=False) for name in names]
    for chunk in iter(lambda: file.read(1 << 20), b''):
        for digest in digests:
            digest.update(chunk)
    return digests


def is_key(key: str) -> bool:
    """Return whether ``key`` has the form of our keys. Other objects are ignored."""
    return re.fullmatch(r'[^/]+/([0-9a-f]{2})/\1[0-9a-f]{62}\.hg', key) is not None


def probes(repository: str) -> str:
    """Return the prefix of the objects with which servers try what they may do."""
    return f'{repository}/probe/'


def obliterated(repository: str) -> str:
    """Return the prefix of objects that say what was removed for good: nodes, hexadecimal."""
    return f'{repository}/obliterated/'


def database(repository: str) -> str:
    """Return the prefix of the object that says which database deletes: see `lifecycle.delete`."""
    return f'{repository}/database/'


def is_foreign(repository: str, key: str) -> bool:
    """Return whether nothing of ours has made an object of this name."""
    ours = (probes(repository), obliterated(repository), database(repository))
    return not (is_key(key) or key.startswith(ours))


def parts(store: Store, repository: str) -> list[str]:
    """Return prefixes that divide a repository's keys into parts of about equal size.

    If the store has few objects of the repository, there is one part: each is listed by a request.
    Raise what `Store.objects` raises.
    """
    first = itertools.islice(store.objects(f'{repository}/'), _PAGE)
    if sum(1 for _ in first) < _PAGE:
        return [f'{repository}/']
    return [f'{repository}/{number:02x}/' for number in range(256)]
