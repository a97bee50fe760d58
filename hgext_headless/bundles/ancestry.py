"""Ancestors down to where public history begins: what is below is not walked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from mercurial.node import nullrev


class Stack(NamedTuple):
    """A head with all its draft ancestors: ``nodes``, parents first, end with the
    head. ``bases`` are their public parents."""

    nodes: tuple[bytes, ...]
    bases: tuple[bytes, ...]

    @property
    def head(self) -> bytes:
        return self.nodes[-1]


def above(
    changelog: Any, heads: Iterable[bytes], is_below: Callable[[bytes], bool]
) -> list[bytes]:
    """Some changesets and their ancestors, parents first, without those that are below
    (as is then each of their ancestors)."""
    found: set[int] = set()
    pending = [changelog.rev(node) for node in heads]
    while pending:
        rev = pending.pop()
        if rev != nullrev and rev not in found and not is_below(changelog.node(rev)):
            found.add(rev)
            pending += changelog.parentrevs(rev)
    return [changelog.node(rev) for rev in sorted(found)]


def bases(changelog: Any, nodes: Collection[bytes]) -> list[bytes]:
    """The parents of some changesets that are not among them, sorted."""
    inside = {*nodes, changelog.nullid}
    return sorted(
        {parent for node in nodes for parent in changelog.parents(node) if parent not in inside}
    )
