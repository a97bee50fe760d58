"""What drafts and pushes are exported to: the interface of `repository` and `folder`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ... import pushlog2
from ...model import Bundle, Conflict, PastPush


class Target(Protocol):
    """``pushlog`` is the path of its pushlog2.db.

    Every method can be repeated after an interruption.
    """

    pushlog: str

    def begin(self) -> None:
        """Prepare the target for bundles."""

    def has(self, bundle: Bundle) -> bool:
        """Return whether it has the drafts of ``bundle``, which then need not be fetched."""

    def take(self, bundles: Sequence[Bundle]) -> Iterator[tuple[Bundle, str]]:
        """Fetch and add bundles. Yield those that are unavailable, with the reason."""

    def set_bookmarks(self, bookmarks: Sequence[tuple[bytes, bytes]]) -> None:
        """Set the bookmarks (name and node) of drafts that the target has."""

    def add_pushes(
        self, file: pushlog2.WritableFile, pushes: Sequence[PastPush]
    ) -> list[Conflict]:
        """Add pushes to its pushlog, as `pushlog2.WritableFile.add` does."""
