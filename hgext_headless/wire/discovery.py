"""What the server says of drafts beside ``getbundle``: ``lookup`` and ``listkeys``.

In discovery (``heads``, ``known``, ``branchmap``) it has public history, and no more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mercurial import error, pushkey, wireprototypes
from mercurial.i18n import _
from mercurial.node import hex

from .. import config, errors, hgcompat
from ..backend import Backend
from ..errors import HeadlessError
from . import roots


def peer_local(orig: Any, peer: Any) -> Any:
    """No repository behind a peer in this process: "hg identify" and "hg incoming" would
    look for a draft in it, where "lookup" and "getbundle" find one."""
    return None if config.participates(hgcompat.peer_repository(peer)) else orig(peer)


def lookup(orig: Any, repo: Any, key: bytes) -> bytes:
    """The node that a name, a hash or its unique prefix stands for.

    Raises what stock hg raises where there is none, or more than one.
    """
    if not config.participates(repo):
        return _node(orig(repo, key))
    with errors.clear_errors():
        return resolve(functools.partial(orig, repo), repo, key)


def resolve(public: Callable[[bytes], Any], repo: Any, key: bytes) -> bytes:
    """As `lookup`; ``public`` looks in public history. Raises our own errors too."""
    if not key:
        raise unknown(key)
    try:
        node = _node(public(key))
    except error.RepoLookupError as exc:
        if isinstance(exc, error.FilteredRepoLookupError):
            raise
        with Backend(repo).catalog.reading() as session:
            found = session.named(key)
        if not found:
            raise
        if len(found) > 1:
            raise _ambiguous(key) from None
        return found[0]
    if node is None:  # the working directory
        raise unknown(key)
    if len(key) < 40 and is_prefix(repo, key, node):
        try:
            with Backend(repo).catalog.impatient().reading() as session:
                found = session.named(key)
        except HeadlessError:
            return node  # public history is served without the database
        if any(other != node for other in found):
            raise _ambiguous(key)
    return node


def is_prefix(repo: Any, key: bytes, node: bytes) -> bool:
    """Whether a name stands for a public changeset as a prefix of its hash."""
    number = key.isdigit() and repo.changelog.rev(node) == int(key)
    return not number and hex(node).startswith(key)


def list_keys(orig: Any, repo: Any, proto: Any, namespace: bytes) -> Any:
    """The wire command ``listkeys``.

    A request that fails says so as a line that every client prints; at the end of a push
    its phases then stay as they are.
    """
    answer = orig(repo, proto, namespace)
    if not config.participates(repo):
        return answer
    try:
        keys = _with_drafts(repo, pushkey.decodekeys(answer.data), namespace)
    except HeadlessError as exc:
        return wireprototypes.ooberror(hgcompat.to_bytes(exc.line()) + b'\n')
    return wireprototypes.bytesresponse(pushkey.encodekeys(sorted(keys.items())))


def peer_list_keys(orig: Any, peer: Any, namespace: bytes) -> dict[bytes, bytes]:
    """``listkeys`` of a peer in this process (`localrepo.localpeer`)."""
    keys: dict[bytes, bytes] = orig(peer, namespace)
    if not config.participates(hgcompat.peer_repository(peer)):
        return keys
    with errors.clear_errors():
        return _with_drafts(hgcompat.peer_repository(peer), keys, namespace)


def _with_drafts(
    repo: Any, keys: dict[bytes, bytes], namespace: bytes
) -> dict[bytes, bytes]:
    """Keys of public history and of drafts: of ``phases`` the roots of recent pushes, of
    ``bookmarks`` the newest ones."""
    if namespace == b'phases':
        return {**keys, **roots.named(Backend(repo), repo)}
    if namespace == b'bookmarks':
        return {**_draft_bookmarks(repo), **keys}
    return keys


def _draft_bookmarks(repo: Any) -> dict[bytes, bytes]:
    """Those that a client is told of: one that it is not told of, it neither pulls nor
    moves by name. None where the database fails: public history is served."""
    backend = Backend(repo)
    if not backend.settings.listed_bookmarks:
        return {}
    try:
        with backend.catalog.impatient().reading() as session:
            found = session.newest_bookmarks(backend.settings.listed_bookmarks)
    except HeadlessError as exc:
        repo.ui.log(b'headless', b'listkeys: %s\n', hgcompat.to_bytes(exc.line()))
        return {}
    return {name: hex(node) for name, node in found.items() if hgcompat.is_plain(name)}


def unknown(name: bytes) -> error.RepoLookupError:
    """Mercurial's error for a name that nothing has, in its words: consumers look for them."""
    return error.RepoLookupError(_(b"unknown revision '%s'") % hgcompat.escaped_bytes(name))


def _node(found: Any) -> bytes:
    node: bytes = found
    return node


def _ambiguous(key: bytes) -> error.LookupError:
    # As Mercurial's changelog says it of public changesets.
    return error.AmbiguousPrefixLookupError(key, b'00changelog', _(b'ambiguous identifier'))
