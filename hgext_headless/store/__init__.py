"""The store: all that speaks object storage, the same few verbs for each back end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Object(NamedTuple):
    """What a store lists: ``size`` in bytes, ``modified`` in seconds since the epoch."""

    key: str
    size: int
    modified: float


class Source(Protocol):
    """Where objects are read from: a store, or a cache before it."""

    def get(self, key: str, path: str) -> None:
        """Write the object to the file ``path``. Raises `errors.Corrupt` where
        there is no such object."""


class Store(Source, Protocol):
    """Objects by key. Every method raises `errors.Temporary` where the back end
    can't answer within its deadline, and `errors.Misconfigured`."""

    def put(self, key: str, path: str) -> None:
        """Store the file ``path`` durably, and look at what is there now.

        An object that is there already stays as it is (a key is its content's digest).
        Raises `errors.Temporary` where the store has anything else under that name."""

    def size(self, key: str) -> int | None:
        """The object's size in bytes; None without such an object."""

    def sha256(self, key: str) -> str:
        """The SHA-256 of what the store has, hexadecimal; where the store does not tell it
        all is read. Raises `errors.Corrupt` where there is no such object."""

    def url(self, key: str, seconds: int) -> str | None:
        """A URL that anyone can read the object from, for so many seconds; None
        where this process has to stream it (then `local_path` has it)."""

    def local_path(self, key: str) -> str | None:
        """The object's file, where it is one."""

    def objects(self, prefix: str) -> Iterator[Object]:
        """The objects whose keys begin so, in no order. ``prefix`` ends with a slash."""

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is not there is no error."""

    def remove_abandoned(self, repository: str, before: float) -> int:
        """Remove what writers that died before then (seconds since the epoch) have left
        behind in the store; return how many things."""

    def check(self) -> None:
        """That the back end answers, exists, and takes our credentials."""
