"""A local cache of objects, for servers that read the same objects often.

It is a folder that any number of processes share. Entries are written atomically, read through
one open file, and checked against the digest in their name. They may vanish at any time. If the
folder cannot be used, objects come from the store.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator

from .. import sharing
from . import Source, digest as digest_of
from .files import open_plain

_TEMPORARY = '.tmp-'
#: Seconds after which no process writes to a temporary file any more.
_ABANDONED = 3600


class Cached:
    """A store with a cache of at most ``limit`` bytes in front of it."""

    def __init__(self, store: Source, folder: str, limit: int) -> None:
        self._store = store
        self._folder = folder
        self._limit = limit

    def get(self, key: str, path: str) -> None:
        """See `Source.get`."""
        digest = digest_of(key)
        entry = os.path.join(self._folder, digest)
        if self._copy(entry, digest, path):
            return
        self._store.get(key, path)
        with contextlib.suppress(OSError):
            self._add(entry, path)

    def collect(
        self, is_live: Callable[[list[str]], set[str]], before: float
    ) -> tuple[int, OSError | None]:
        """Remove unused entries and temporary files left behind.

        Return how many were removed, and an error if others could not be. Keep those that were
        used since ``before`` (seconds since the epoch), and live entries: ``is_live`` returns those
        of a list of digests that are live.
        """
        try:
            old = [path for used, _size, path in self._entries() if used < before]
        except FileNotFoundError:
            return 0, None
        except OSError as exc:
            return 0, exc
        by_digest = {os.path.basename(path): path for path in old}
        live = is_live([digest for digest in by_digest if not digest.startswith(_TEMPORARY)])
        removed, failure = 0, None
        for digest in set(by_digest) - live:
            try:
                os.unlink(by_digest[digest])
            except FileNotFoundError:
                pass
            except OSError as exc:
                failure = exc
                continue
            removed += 1
        return removed, failure

    def forget(self, key: str) -> None:
        """Remove an entry, if present."""
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._folder, digest_of(key)))

    def _copy(self, entry: str, digest: str, path: str) -> bool:
        """Copy an entry to ``path``. Return False if it is missing or does not match its digest."""
        found = hashlib.sha256()
        try:
            with open_plain(entry) as source, open(path, 'wb') as out:
                chunks = iter(lambda: source.read(1 << 20), b'')
                # What another user has put there may have no end.
                for chunk in itertools.islice(chunks, (self._limit >> 20) + 1):
                    found.update(chunk)
                    out.write(chunk)
            if found.hexdigest() == digest:
                os.utime(entry, follow_symlinks=False)  # the time of last use, for `_evict`
                return True
            os.unlink(entry)
        except OSError:
            pass
        return False

    def _add(self, entry: str, path: str) -> None:
        if os.path.getsize(path) > self._limit:
            return
        sharing.make_folders(self._folder, 0o700)
        descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=self._folder)
        try:
            with os.fdopen(descriptor, 'wb') as out, open(path, 'rb') as source:
                shutil.copyfileobj(source, out, 1 << 20)
            sharing.share(temporary)
            os.rename(temporary, entry)
        except OSError:
            os.unlink(temporary)
            raise
        self._evict()

    def _evict(self) -> None:
        """Remove the least recently used entries until the others are within the limit."""
        entries = sorted(self._entries())
        total = sum(size for _used, size, _path in entries)
        for used, size, path in entries:
            abandoned = (
                os.path.basename(path).startswith(_TEMPORARY) and used < time.time() - _ABANDONED
            )
            if total <= self._limit and not abandoned:
                continue
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size

    def _entries(self) -> Iterator[tuple[float, int, str]]:
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                yield found.st_mtime, found.st_size, entry.path
