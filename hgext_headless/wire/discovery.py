"""``lookup`` and ``listkeys``, with drafts.

In discovery (``heads``, ``known``, ``branchmap``) a server has public history only.
"""

from __future__ import annotations

import contextvars
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mercurial import error, localrepo, pushkey, wireprototypes
from mercurial.i18n import _
from mercurial.node import bin, hex

from .. import config, errors, hgcompat, timings
from ..catalog import bookmarks, names
from ..errors import HeadlessError, Refused
from . import phase_roots

_HASH = re.compile(rb'[0-9a-fA-F]{40}')
#: Maximum number of names in a batch that the database is asked for: "pull -r" sends them at once.
_MOST_NAMES = 1000


@dataclass
class _Batch:
    """A ``batch`` of commands: whether it has heads, and its answers to ``listkeys`` so far.

    ``names`` is the number of names that the database was asked for.
    """

    has_heads: bool = False
    names: int = 0
    keys: dict[bytes, Any] = field(default_factory=dict)


_in_batch: contextvars.ContextVar[_Batch | None] = contextvars.ContextVar('batch', default=None)


class Repository:
    """A mixin for `localrepo.localrepository`, where that is headless."""

    def peer(self, *args: Any, **kwargs: Any) -> Any:
        return _Peer(self, *args, **kwargs)


class FindingDrafts:
    """The same, where drafts are served."""

    def lookup(self, key: bytes) -> bytes:
        repo: Any = self
        with errors.clear_errors(), timings.logged(repo.ui, 'lookup', only_failures=True):
            if _HASH.fullmatch(key) and not repo.unfiltered().changelog.hasnode(bin(key)):
                # Mercurial would read all names, and map all nodes to compare their beginnings.
                found = _named(repo, key)
                if found:
                    return found[0]
            return resolve(super().lookup, repo, key)  # type: ignore[misc]


class _Peer(localrepo.localpeer):  # type: ignore[misc]
    """A peer in this process."""

    def __init__(self, repo: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(repo, *args, **kwargs)
        self._served = repo

    def local(self) -> None:
        """Return no repository.

        With one, "hg identify" and "hg incoming" would look for a draft in it; without, they use
        "lookup" and "getbundle", which know drafts.
        """

    def listkeys(self, namespace: bytes) -> dict[bytes, bytes]:
        with errors.clear_errors():
            return _with_drafts(self._served, super().listkeys(namespace), namespace)


def resolve(
    public: Callable[[bytes], Any],
    repo: Any,
    key: bytes,
    stored: Callable[[bytes], tuple[bytes, ...]] | None = None,
) -> bytes:
    """Return the node for ``key``: a name, a hash, or a unique prefix of a hash.

    ``public`` looks in public history only, ``stored`` returns the drafts that a name stands for,
    as `names.named`; a caller that has a session must pass it, because it must not wait for a
    second connection. Raise stock's errors and our own.
    """
    if not key:
        raise unknown(key)
    try:
        node: bytes = public(key)
    except error.RepoLookupError as exc:
        if isinstance(exc, error.FilteredRepoLookupError):
            raise
        found = stored(key) if stored else _named(repo, key)
        if not found and stored is None:
            raise (_gone(repo, key) or exc) from None
        if not found:
            raise
        if len(found) > 1:
            raise _ambiguous(key) from None
        return found[0]
    if node is None:  # the working directory
        raise unknown(key)
    if len(key) < 40 and is_prefix(repo, key, node):
        try:
            found = stored(key) if stored else _named(repo, key, is_public=True)
        except HeadlessError:
            return node  # public history is served without the database
        if any(other != node for other in found):
            raise _ambiguous(key)
    return node


def _named(repo: Any, key: bytes, is_public: bool = False) -> tuple[bytes, ...]:
    if within := _in_batch.get():
        within.names += 1
        if within.names > _MOST_NAMES:
            raise Refused(f'one batch can name {_MOST_NAMES} drafts')
    catalog = repo.headless.catalog
    with (catalog.fail_fast() if is_public else catalog).reading() as own:
        return names.named(own, key)


def _gone(repo: Any, key: bytes) -> error.RepoLookupError | None:
    """Return the error for a draft that expired or was removed, or None."""
    with repo.headless.catalog.reading() as session:
        tombstone = names.gone(session, key)
        if tombstone is None:
            return None
        fate = hgcompat.to_bytes(names.fate(session, tombstone))
    return error.RepoLookupError(b'%s: %s' % (unknown(key), fate))


def is_prefix(repo: Any, key: bytes, node: bytes) -> bool:
    """Return whether ``key`` names the public changeset ``node`` by a prefix of its hash."""
    number = key.isdigit() and repo.changelog.rev(node) == int(key)
    return not number and hex(node).startswith(key.lower())


def batch(orig: Any, repo: Any, proto: Any, cmds: bytes, others: Any) -> Any:
    """The wire command ``batch``. Beside heads, it lists no bookmark that no head has.

    git-cinnabar before 0.7 asks for both at once, and ends at a bookmark of which it gets no
    changeset. Mercurial asks for bookmarks alone, to pull or move one by its name.
    """
    commands = {command.split(b' ', 1)[0] for command in cmds.split(b';')}
    token = _in_batch.set(_Batch(not commands.isdisjoint((b'heads', b'branchmap'))))
    try:
        return orig(repo, proto, cmds, others)
    finally:
        _in_batch.reset(token)


def list_keys(orig: Any, repo: Any, proto: Any, namespace: bytes) -> Any:
    """The wire command ``listkeys``.

    An error is a line that every client prints. At the end of a push, the client then leaves
    its phases as they are. A batch is asked for the same keys once, however often it names them.
    """
    if not config.participates(repo):
        return orig(repo, proto, namespace)
    within = _in_batch.get() or _Batch()
    if namespace not in within.keys:
        within.keys[namespace] = _keys(repo, orig(repo, proto, namespace), namespace)
    return within.keys[namespace]


def _keys(repo: Any, answer: Any, namespace: bytes) -> Any:
    """Return the answer to ``listkeys``; ``answer`` is that of public history."""
    try:
        with timings.logged(repo.ui, 'listkeys', only_failures=True):
            keys = _with_drafts(repo, pushkey.decodekeys(answer.data), namespace)
    except HeadlessError as exc:
        return wireprototypes.ooberror(hgcompat.to_bytes(exc.line()) + b'\n')
    return wireprototypes.bytesresponse(pushkey.encodekeys(sorted(keys.items())))


def _with_drafts(repo: Any, keys: dict[bytes, bytes], namespace: bytes) -> dict[bytes, bytes]:
    """Add to ``keys`` of public history the roots of recent pushes, or the newest bookmarks."""
    if namespace == b'phases':
        return {**keys, **phase_roots.named(repo)}
    if namespace == b'bookmarks':
        return {**_draft_bookmarks(repo), **keys}
    return keys


def _draft_bookmarks(repo: Any) -> dict[bytes, bytes]:
    """Return the newest draft bookmarks, which clients can pull and move by name.

    Return none if the database fails: public history is served without it.
    """
    backend = repo.headless
    within = _in_batch.get() or _Batch()
    if within.has_heads or not backend.settings.listed_bookmarks:
        return {}
    try:
        with backend.catalog.fail_fast().reading() as session:
            found = bookmarks.newest(session, backend.settings.listed_bookmarks)
    except HeadlessError as exc:
        timings.note_failure(repo.ui, 'listkeys', exc)
        return {}
    return {name: hex(node) for name, node in found.items() if hgcompat.is_plain(name)}


def unknown(name: bytes) -> error.RepoLookupError:
    """Return Mercurial's error for an unknown name, with its text, which consumers match."""
    return error.RepoLookupError(_(b"unknown revision '%s'") % hgcompat.escaped_bytes(name))


def _ambiguous(key: bytes) -> error.LookupError:
    # The error that Mercurial's changelog raises for public changesets.
    return error.AmbiguousPrefixLookupError(key, b'00changelog', _(b'ambiguous identifier'))
