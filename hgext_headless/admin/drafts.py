"""The drafts of an ordinary repository, head by head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mercurial import scmutil

from ..bundles import ancestry
from ..bundles.ancestry import Stack


class Drafts:
    """Some drafts of a repository with all their draft ancestors; ``heads`` are revision
    numbers."""

    def __init__(self, repo: Any, revs: Any) -> None:
        self._changelog = repo.unfiltered().changelog
        self._revs = frozenset(revs)
        self.heads: Sequence[int] = list(repo.revs(b'heads(%ld)', revs))

    def __len__(self) -> int:
        return len(self._revs)

    def __contains__(self, node: bytes) -> bool:
        return self._changelog.rev(node) in self._revs

    def stack(self, head: int) -> Stack:
        changelog = self._changelog
        nodes = ancestry.above(changelog, [changelog.node(head)], lambda n: n not in self)
        return Stack(tuple(nodes), tuple(ancestry.bases(changelog, nodes)))


def select(repo: Any, revs: list[bytes]) -> Drafts:
    """The visible drafts that some revsets name, with their draft ancestors; all
    visible drafts where none is named.

    Secret changesets and hidden ones are no drafts here.
    """
    if not revs:
        return Drafts(repo, repo.revs(b'draft()'))
    return Drafts(repo, repo.revs(b'::%ld and draft()', scmutil.revrange(repo, revs)))
