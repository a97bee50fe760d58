"""The drafts of an ordinary repository, by head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mercurial import scmutil

from ..bundles import ancestry
from ..bundles.ancestry import Stack


class Drafts:
    """The drafts ``revs`` of a repository, which must include all their draft ancestors.

    ``heads`` are revision numbers.
    """

    def __init__(self, repo: Any, revs: Any) -> None:
        self._changelog = repo.unfiltered().changelog
        self._revs = frozenset(revs)
        self.heads: Sequence[int] = list(repo.revs(b'heads(%ld)', revs))

    def __len__(self) -> int:
        return len(self._revs)

    def __contains__(self, node: bytes) -> bool:
        return self._changelog.rev(node) in self._revs

    def stack(self, head: int) -> Stack:
        """Return the stack of the draft head with revision number ``head``."""
        changelog = self._changelog
        nodes = ancestry.above(changelog, [changelog.node(head)], lambda n: n not in self)
        return Stack(tuple(nodes), tuple(ancestry.bases(changelog, nodes)))


def select(repo: Any, revs: list[bytes]) -> Drafts:
    """Return the visible drafts in ``revs``, which are revsets, with their draft ancestors.

    Return all visible drafts if ``revs`` is empty. Secret and hidden changesets are never
    returned.
    """
    if not revs:
        return Drafts(repo, repo.revs(b'draft()'))
    return Drafts(repo, repo.revs(b'::%ld and draft()', scmutil.revrange(repo, revs)))
