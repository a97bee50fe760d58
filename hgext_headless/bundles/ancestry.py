"""Draft ancestors of a changeset: the walk stops where public history begins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from mercurial.node import nullrev


class Stack(NamedTuple):
    """A head with all its draft ancestors.

    ``nodes`` are in order, parents first, and end with the head. ``bases`` are their public
    parents.
    """

    nodes: tuple[bytes, ...]
    bases: tuple[bytes, ...]

    @property
    def head(self) -> bytes:
        return self.nodes[-1]


def above(changelog: Any, heads: Iterable[bytes], is_below: Callable[[bytes], bool]) -> list[bytes]:
    """Return ``heads`` and their ancestors down to those for which ``is_below`` is true.

    Parents come first. Changesets for which ``is_below`` is true are left out and not walked:
    it must be true for all their ancestors.
    """
    found: set[int] = set()
    pending = [changelog.rev(node) for node in heads]
    while pending:
        rev = pending.pop()
        if rev != nullrev and rev not in found and not is_below(changelog.node(rev)):
            found.add(rev)
            pending += changelog.parentrevs(rev)
    return [changelog.node(rev) for rev in sorted(found)]


def bases(changelog: Any, nodes: Collection[bytes]) -> list[bytes]:
    """Return the parents of ``nodes`` that are not among ``nodes``, sorted."""
    inside = {*nodes, changelog.nullid}
    return sorted(
        {parent for node in nodes for parent in changelog.parents(node) if parent not in inside}
    )
