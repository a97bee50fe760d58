"""What `exporting` writes to: a repository or a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ... import pushlog2
from ...model import Bundle, Conflict, PastPush


class Target(Protocol):
    """``pushlog`` is the path of its pushlog2.db. Every method may be called again
    after whatever stopped it."""

    pushlog: str

    def begin(self) -> None:
        """Make it ready to take bundles."""

    def has(self, bundle: Bundle) -> bool:
        """Whether it has the drafts of a bundle, so that it need not be fetched."""

    def take(self, bundles: Sequence[Bundle]) -> Iterator[tuple[Bundle, str]]:
        """Fetch and keep bundles. Yields those that can't be had, with the reason."""

    def mark(self, bookmarks: Sequence[tuple[bytes, bytes]]) -> None:
        """Set those bookmarks (name and node) whose drafts it has."""

    def add_pushes(
        self, file: pushlog2.WritableFile, pushes: Sequence[PastPush]
    ) -> list[Conflict]:
        """Add pushes to its pushlog, as `pushlog2.WritableFile.add`."""
