"""The logs of overlays: an index that looks nodes up in that of the repository, and recent texts.

In a large repository, most of an index's time and memory goes into its map of nodes, and
Mercurial's C index builds a new map for each object. The rest of the index is mapped from the
file.

A revision in a bundle is a delta against any other one, and Mercurial's logs of bundles keep the
last text only: two chains side by side would take quadratic time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mercurial import bundlerepo, error, mdiff, util
from mercurial.node import hex, nullrev

from .. import hgcompat
from ..errors import Refused

#: How many changesets the index of a repository object may lag behind the file.
_MOST_NEWER = 10_000
#: How many texts of a log an overlay keeps, and their size in bytes.
_MOST_TEXTS = 10_000
_SIZE_OF_TEXTS = 16 * 1024 * 1024
#: How many bytes of texts may be made to read one byte, and how many in any case.
_MOST_MADE, _MADE_ANYWAY = 32, 256 * 1024 * 1024
#: How many bytes of texts a push may have in all. On the wire, a text can be a few bytes.
_MOST_READ = 64 << 30


class SharedIndex:
    """Mercurial's index (``revlog.index``) of a revlog with entries laid over it.

    ``own`` is an index of the whole file. The entries of ``shared`` are the first entries of
    ``own``. Nodes are looked up in ``shared``, which has none of ``missing``; ``own`` answers
    everything else.
    """

    def __init__(self, own: Any, shared: Any, missing: Collection[bytes]) -> None:
        self._own = own
        self._shared = shared
        self._missing = missing
        self._size = len(shared)
        self._revs = {own[rev][7]: rev for rev in range(self._size, len(own))}

    def release(self) -> None:
        """Release both indexes: the objects of a request keep this one long after its use."""
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
        # First what is laid over it. For a node that it lacks, Mercurial's index is read to its
        # end, and at the fifth it maps all its nodes: 0.1 s and 26 MB for 500,000.
        own = self._revs.get(node)
        if own is not None or node in self._missing:
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
        prefix = prefix.lower()
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


def shared(own: Any, with_nodes: Any, missing: Collection[bytes]) -> Any:
    """Return ``own`` as an index that looks nodes up in ``with_nodes``: see `SharedIndex`.

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
    return SharedIndex(own, with_nodes, missing) if fits else own


def release(log: Any) -> None:
    """Release the memory of a `Changelog` or `Manifest`, which cannot be used afterwards."""
    log.clearcaches()
    if isinstance(log.index, SharedIndex):
        log.index.release()


def _no_texts() -> Any:
    return util.lrucachedict(_MOST_TEXTS, maxcost=_SIZE_OF_TEXTS)


class Effort:
    """How many bytes of texts of an overlay were made from others, and were asked for."""

    made = 0
    read = 0

    def check(self) -> None:
        """Raise `Refused` if that is too much, or far more were made than read."""
        if self.made > _MADE_ANYWAY + _MOST_MADE * self.read:
            raise Refused('the deltas of the push build on each other in too many long chains')
        if self.read > _MOST_READ:
            raise Refused(
                'all manifests and files of the push together have more than '
                f'{_MOST_READ >> 30} GB of text'
            )


class _Texts:
    """A log of a bundle that keeps recent ``texts``, by revision."""

    texts: Any
    effort: Effort

    def _rawtext(self, node: bytes, rev: int | None) -> Any:
        log: Any = self
        found = rev = log.rev(node) if rev is None else rev
        chain = []
        while found > log.repotiprev and found not in self.texts:
            chain.append(found)
            found = log.index[found][3]
        text = self.text_below(found) if found <= log.repotiprev else self.texts[found]
        for link in reversed(chain):
            text = mdiff.patches(text, [log._chunk(link)])
            self.texts.insert(link, text, cost=len(text))
            self.effort.made += len(text)
        self.effort.read += len(text)
        return rev, text, False

    def text(self, node: bytes) -> bytes:
        """Return the text of a revision, of which the hash was checked before."""
        text: bytes = self._rawtext(node, None)[1]
        return text

    def revdiff(self, rev1: int, rev2: int, *args: Any) -> bytes:
        # Mercurial compares the texts if one of them is in the repository: large ones for seconds.
        log: Any = self
        if rev2 > log.repotiprev and log.index[rev2][3] == rev1 and not any(args):
            received: bytes = log._chunk(rev2)
            return received
        compared: bytes = super().revdiff(rev1, rev2, *args)  # type: ignore[misc]
        return compared

    def text_below(self, rev: int) -> bytes:
        """Return the text of a revision of the repository below, or of the null revision."""
        if rev == nullrev:
            return b''
        node = self.node(rev)  # type: ignore[attr-defined]
        text: bytes = super()._rawtext(node, rev)[1]  # type: ignore[misc]
        return text


class _FileLog(_Texts, bundlerepo.bundlerevlog):  # type: ignore[misc]
    pass


def keep_texts(storage: Any, effort: Effort) -> None:
    """Let the log of a file (`bundlerepo.bundlefilelog`) keep recent texts."""
    storage._revlog.__class__ = _FileLog
    storage._revlog.texts = _no_texts()
    storage._revlog.effort = effort


class _Sharing(_Texts):
    """A revlog whose index looks nodes up in that of ``public``, another one."""

    _missing: Collection[bytes] = ()

    def __init__(self, effort: Effort, public: Any, *args: Any) -> None:
        self.effort = effort
        self._public = public
        self.texts = _no_texts()
        self._read: dict[bytes, Any] = {}
        super().__init__(*args)
        self._read.clear()

    def clearcaches(self, **options: Any) -> None:
        super().clearcaches(**options)  # type: ignore[misc]
        self.texts.clear()

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
            lambda own: shared(own, self._public.index, self._missing),
        )


class Changelog(_Sharing, bundlerepo.bundlechangelog):  # type: ignore[misc]
    """`bundlerepo.bundlechangelog` over ``public``, a changelog that has none of ``missing``."""

    def __init__(self, missing: Collection[bytes], effort: Effort, public: Any, *args: Any) -> None:
        self._missing = missing
        super().__init__(effort, public, *args)


class Manifest(_Sharing, bundlerepo.bundlemanifest):  # type: ignore[misc]
    """`bundlerepo.bundlemanifest` over ``public``, the revlog of the public manifests."""

    def text_below(self, rev: int) -> bytes:
        # Manifests are large, and many drafts have the same base. So its text is read once, by the
        # public log. A rollback may have given this number to another revision.
        if nullrev < rev < len(self._public) and self._public.node(rev) == self.node(rev):
            text: bytes = self._public.rawdata(rev)
            return text
        return super().text_below(rev)
