"""An index for overlays that looks nodes up in the index of the repository.

In a large repository, most of an index's time and memory goes into its map of nodes, and
Mercurial's C index builds a new map for each object. The rest of the index is mapped from the
file.
"""

from __future__ import annotations

from typing import Any

from mercurial import bundlerepo, error, mdiff, util
from mercurial.node import hex, nullrev

from .. import hgcompat

#: How many changesets the index of a repository object may lag behind the file.
_MOST_NEWER = 10_000
#: How many texts of changesets an overlay keeps, and their size in bytes.
_MOST_TEXTS = 10_000
_SIZE_OF_TEXTS = 16 * 1024 * 1024


class SharedIndex:
    """Mercurial's index (``revlog.index``) of a revlog with entries laid over it.

    ``own`` is an index of the whole file. The entries of ``shared`` are the first entries of
    ``own``. Nodes are looked up in ``shared``; ``own`` answers everything else.
    """

    def __init__(self, own: Any, shared: Any) -> None:
        self._own = own
        self._shared = shared
        self._size = len(shared)
        self._revs = {own[rev][7]: rev for rev in range(self._size, len(own))}

    def release(self) -> None:
        """Release both indexes.

        The objects of a request refer to each other, and keep this one long after its use.
        """
        self._own = self._shared = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __len__(self) -> int:
        return len(self._own)

    def __getitem__(self, rev: int) -> Any:
        return self._own[rev]

    def __contains__(self, node: bytes) -> bool:
        return self.get_rev(node) is not None

    def append(self, entry: Any) -> None:
        self._revs[entry[7]] = len(self._own)
        self._own.append(entry)

    def get_rev(self, node: bytes) -> int | None:
        # First what is laid over it: at a few misses, Mercurial's index maps all its nodes.
        own = self._revs.get(node)
        if own is not None:
            return own
        rev: int | None = self._shared.get_rev(node)
        # The shared index may have grown since, perhaps by the revisions that are laid over it.
        return rev if rev is not None and rev < self._size else None

    def has_node(self, node: bytes) -> bool:
        return self.get_rev(node) is not None

    def rev(self, node: bytes) -> int:
        found = self.get_rev(node)
        if found is None:
            raise error.RevlogError(b'unknown node')
        return found

    def partialmatch(self, prefix: bytes) -> bytes | None:
        """Return the node whose hexadecimal form begins with ``prefix``, or None.

        Raise `error.RevlogError` if there are several.
        """
        found = {node for node in self._revs if hex(node).startswith(prefix)}
        shared = self._shared.partialmatch(prefix)
        if shared is not None:
            found.add(shared)
        if len(found) > 1:
            raise error.RevlogError(b'ambiguous prefix')
        return found.pop() if found else None

    def shortest(self, node: bytes) -> int:
        """Return the length of the shortest unambiguous prefix of ``node``."""
        name = hex(node)
        for length in range(1, len(name)):
            try:
                if self.partialmatch(name[:length]) == node:
                    return length
            except error.RevlogError:
                continue
        return len(name)


def shared(own: Any, with_nodes: Any) -> Any:
    """Return ``own`` as an index that looks nodes up in ``with_nodes``.

    The entries of ``with_nodes`` must be the first entries of ``own``; otherwise return ``own``
    itself.
    """
    size = len(with_nodes)
    fits = (
        hgcompat.is_c_index(own)
        and hgcompat.is_c_index(with_nodes)
        and 0 < size <= len(own) <= size + _MOST_NEWER
        and own[0][7] == with_nodes[0][7]
        and own[size - 1][7] == with_nodes[size - 1][7]
    )
    return SharedIndex(own, with_nodes) if fits else own


def release(log: Any) -> None:
    """Release the memory of a `Changelog` or `Manifest`, which cannot be used afterwards."""
    log.clearcaches()
    if isinstance(log.index, SharedIndex):
        log.index.release()


class _Sharing:
    """A revlog whose index looks nodes up in ``with_nodes``, another revlog's index."""

    def __init__(self, with_nodes: Any, *args: Any) -> None:
        self._with_nodes = with_nodes
        self._read: dict[bytes, Any] = {}
        super().__init__(*args)
        self._read.clear()

    def _get_data(self, path: bytes, threshold: int | None, size: int | None = None) -> Any:
        # Bundle logs open the file twice: for themselves and for the log below.
        if path not in self._read:
            found = hgcompat.mapped(self.opener, path, threshold, size)  # type: ignore[attr-defined]
            if found is None:
                found = super()._get_data(path, threshold, size)  # type: ignore[misc]
            self._read[path] = found
        return self._read[path]

    def _load_inner(self, *args: Any) -> None:
        # Called by Mercurial's revlog with the index that it has just parsed.
        hgcompat.replace_parsed_index(
            self,
            super()._load_inner,  # type: ignore[misc]
            args,
            lambda own: shared(own, self._with_nodes),
        )


class Changelog(_Sharing, bundlerepo.bundlechangelog):  # type: ignore[misc]
    """`bundlerepo.bundlechangelog` over the changelog whose index is the first argument."""

    def __init__(self, *args: Any) -> None:
        self._texts = util.lrucachedict(_MOST_TEXTS, maxcost=_SIZE_OF_TEXTS)
        super().__init__(*args)

    def _rawtext(self, node: bytes, rev: int | None) -> Any:
        # A text is a delta against the one before, and lists read the last ones first.
        rev = self.rev(node) if rev is None else rev
        chain, base = [], rev
        while base > self.repotiprev and base not in self._texts:
            chain.append(base)
            base = self.index[base][3]
        if base <= self.repotiprev:
            text = super()._rawtext(self.node(base), base)[1] if base > nullrev else b''
        else:
            text = self._texts[base]
        for link in reversed(chain):
            text = mdiff.patches(text, [self._chunk(link)])
            self._texts.insert(link, text, cost=len(text))
        return rev, text, False


class Manifest(_Sharing, bundlerepo.bundlemanifest):  # type: ignore[misc]
    """`bundlerepo.bundlemanifest` over ``public``, the revlog of the public manifests."""

    def __init__(self, public: Any, *args: Any) -> None:
        self._public = public
        super().__init__(public.index, *args)

    def _rawtext(self, node: bytes, rev: int | None) -> Any:
        # Manifests are large, and many drafts have the same base. So its text is read once, by
        # the public log, and copied.
        base = self.rev(node) if rev is None else rev
        while base > self.repotiprev:
            if hgcompat.has_cached_text(self, base):  # closer than the public manifest
                return super()._rawtext(node, rev)
            base = self.index[base][3]
        # A rollback may have given this number to another revision.
        if nullrev < base < len(self._public) and self._public.node(base) == self.node(base):
            hgcompat.copy_cached_text(self._public, self, base)
        return super()._rawtext(node, rev)
