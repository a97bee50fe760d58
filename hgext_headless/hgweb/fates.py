"""What became of changesets: of obsolete ones, as stock's ``succsandmarkers`` tells it of visible
ones, what others replace, and what was backed out.

Mercurial looks for successors in the repository. Those of a draft are mostly in no bundle that is
laid over it, so the markers alone are followed, to the last successors.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mercurial import templateutil
from mercurial.node import hex

from ..bundles import markers
from ..catalog import markers as stored, pushlog, statements
from ..model import Drafts
from .pushlog import visibility

#: Maximum number of markers in a row, of changesets that are looked up at a time, and of fates of
#: one changeset: a client can push any number of markers.
_STEPS, _WIDTH, _MOST = 10, 500, 10


class Fate(NamedTuple):
    """What replaced a changeset (nothing: it was pruned), and the markers that say so, in order."""

    successors: tuple[bytes, ...]
    markers: tuple[markers.Raw, ...]


class Facts(NamedTuple):
    """What pages of drafts say that the bundles laid over the repository do not: by node.

    ``became`` are fates, ``replaced`` what a changeset replaces, ``backouts`` what backs it out, or
    backs out that.
    """

    became: Mapping[bytes, Sequence[Fate]] = {}
    replaced: Mapping[bytes, Sequence[bytes]] = {}
    backouts: Mapping[bytes, bytes] = {}


def facts(session: statements.Session, repo: Any, drafts: Drafts, for_people: bool) -> Facts:
    """Return the facts of the drafts that a request names, and the fates of those around them."""
    held = {node for bundle in drafts.bundles.values() for node in bundle.nodes}
    named = [node for nodes in drafts.nodes.values() for node in nodes]
    digits = visibility.ANY if for_people else visibility.USUAL
    backouts = visibility.backouts(session, repo, named, for_people, digits)
    again = visibility.backouts(session, repo, backouts.values(), for_people, digits)
    return Facts(of(session, repo, held), replaced(session, repo, named), {**again, **backouts})


def of(session: statements.Session, repo: Any, nodes: Collection[bytes]) -> dict[bytes, list[Fate]]:
    """Return the fates of those of ``nodes`` that are obsolete, by node."""
    found: dict[bytes, list[markers.Raw]] = {}
    pending = set(nodes)
    for _step in range(_STEPS):
        own = (marker for node in pending for marker in repo.obsstore.successors.get(node, ()))
        known = map(markers.unpack, stored.replacing(session, pending))
        read = dict.fromkeys(itertools.chain(own, known))
        for marker in read:
            found.setdefault(marker[0], []).append(marker)
        following = {node for marker in read for node in marker[1]} - found.keys()
        if not following:
            break
        pending = set(sorted(following)[:_WIDTH])
    return {
        node: list(itertools.islice(_followed(found, node, ()), _MOST))
        for node in nodes
        if node in found
    }


def predecessors(
    session: statements.Session, repo: Any, nodes: Collection[bytes], limit: int | None = None
) -> dict[bytes, set[bytes]]:
    """Return the changesets that ``nodes`` replace, as single markers say, by node.

    ``limit`` is that of `catalog.markers.exchanged_with`.
    """
    found: dict[bytes, set[bytes]] = {}
    known = map(markers.unpack, stored.exchanged_with(session, nodes, limit))
    own = (m for node in nodes for m in repo.obsstore.predecessors.get(node, ()))
    for predecessor, successors, *_rest in itertools.chain(known, own):
        for node in successors:
            found.setdefault(node, set()).add(predecessor)
    return found


def replaced(
    session: statements.Session, repo: Any, nodes: Collection[bytes]
) -> dict[bytes, list[bytes]]:
    """Return the last changesets before ``nodes`` that they replace and a push brought, by node."""
    found: dict[bytes, list[bytes]] = {node: [] for node in nodes}
    pending = [(node, node) for node in nodes]  # each with what it leads to
    seen = set(pending)
    for _step in range(_STEPS):
        before = predecessors(session, repo, {one for one, _node in pending}, stored.MOST)
        reached = {(new, node) for one, node in pending for new in before.get(one, ())} - seen
        seen |= reached
        pending = sorted(reached)[: _WIDTH + len(found)]
        asked = {one for one, _node in pending}
        known = {*pushlog.brought(session, asked, with_ends=False)}
        known |= pushlog.tombstoned(session, asked).keys()
        for one, node in pending:
            if one in known:
                found[node].append(one)
        pending = [pair for pair in pending if pair[0] not in known]
        if not pending:
            break
    return {node: earlier[:_MOST] for node, earlier in found.items()}


def _followed(
    found: Mapping[bytes, Sequence[markers.Raw]], node: bytes, before: tuple[markers.Raw, ...]
) -> Iterator[Fate]:
    """Yield what the markers in ``found`` made of ``node``. What was split is not followed."""
    for marker in found[node]:
        path = (*before, marker)
        successors = marker[1]
        if len(successors) == 1 and successors[0] in found.keys() - {one[0] for one in path}:
            yield from _followed(found, successors[0], path)
        else:
            yield Fate(successors, path)


def replacements(fates: Sequence[Fate]) -> Any:
    """Return what is named as successors, in the form of templates and JSON."""
    found = dict.fromkeys(node for fate in fates for node in fate.successors)
    return templateutil.hybridlist(list(map(hex, found)), name=b'node')


def mappings(fates: Sequence[Fate]) -> Any:
    """Return fates in the form of templates, as stock's keyword has them."""
    return templateutil.mappinglist(
        [
            {
                b'issplit': len(successors) > 1,
                b'successors': templateutil.mappinglist([{b'node': hex(n)} for n in successors]),
                b'markers': list(said),
            }
            for successors, said in fates
        ]
    )
