"""The store: all that speaks object storage, the same few verbs for each back end."""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """Where objects are read from: a store, or a cache before it."""

    def get(self, key: str, path: str) -> None:
        """Write the object to the file ``path``. Raises `model.Corrupt` where
        there is no such object."""


class Store(Source, Protocol):
    """Objects by key. Every method raises `model.Temporary` where the back end
    can't answer within its deadline, and `model.Misconfigured`."""

    def put(self, key: str, path: str) -> None:
        """Store the file ``path`` durably; an object that is there already stays
        as it is (a key is its content's digest)."""

    def size(self, key: str) -> int | None:
        """The object's size in bytes; None without such an object."""

    def url(self, key: str, seconds: int) -> str | None:
        """A URL that anyone can read the object from, for so many seconds; None
        where this process has to stream it (then `local_path` has it)."""

    def local_path(self, key: str) -> str | None:
        """The object's file, where it is one."""

    def check(self) -> None:
        """That the back end answers, exists, and takes our credentials."""
