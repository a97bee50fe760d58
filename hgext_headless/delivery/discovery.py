"""What the server says of drafts before any data flows: `heads`, `known`, `lookup`, `listkeys`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from mercurial import error, wireprototypes
from mercurial.i18n import _
from mercurial.node import hex, nullid

from .. import config, hgcompat
from ..model import HeadlessError
from ..site import Site


def heads(orig: Any, repo: Any, proto: Any) -> Any:
    """The wire command ``heads``."""
    if not config.participates(repo):
        return orig(repo, proto)
    encoded = wireprototypes.encodelist(_advertised(repo.heads()))
    return wireprototypes.bytesresponse(encoded + b'\n')


def peer_heads(orig: Any, peer: Any) -> list[bytes]:
    """``heads`` of a peer in this process (`localrepo.localpeer`)."""
    found: list[bytes] = orig(peer)
    return _advertised(found) if config.participates(peer._repo) else found


def peer_local(orig: Any, peer: Any) -> Any:
    """No repository behind a peer in this process, so that its client speaks the
    protocol, and does not look for drafts in the repository itself."""
    return None if config.participates(peer._repo) else orig(peer)


def _advertised(public: list[bytes]) -> list[bytes]:
    """Public heads and the null revision.

    A client that has every head of the server asks no further, and takes its
    drafts for unknown here (`setdiscovery.findcommonheads`). The null revision
    is one that no client counts among those it has, and that everyone has.
    """
    return public if nullid in public else [*public, nullid]


def known(orig: Any, repo: Any, nodes: Sequence[bytes]) -> list[bool]:
    """Which nodes this server has: public ones, and drafts in the database.

    Where the database fails, drafts are not known: a pull of public history
    goes on, and a push is told by its own step.
    """
    answers: list[bool] = orig(repo, nodes)
    if all(answers) or not config.participates(repo):
        return answers
    unknown = [node for node, answer in zip(nodes, answers) if not answer]
    try:
        stored = Site(repo).catalog.known(unknown)
    except HeadlessError as exc:
        repo.ui.log(b'headless', b'known: %s\n', hgcompat.to_bytes(exc.line()))
        return answers
    return [answer or node in stored for node, answer in zip(nodes, answers)]


def lookup(orig: Any, repo: Any, key: bytes) -> bytes:
    """The node that a name, a hash or its unique prefix stands for.

    Raises what stock hg raises where there is none, or more than one.
    """
    if not config.participates(repo):
        return _node(orig(repo, key))
    with hgcompat.clear_errors():
        return resolve(functools.partial(orig, repo), repo, key)


def resolve(public: Callable[[bytes], Any], repo: Any, key: bytes) -> bytes:
    """As `lookup`; ``public`` looks in public history. Raises our own errors too."""
    try:
        node = _node(public(key))
    except error.RepoLookupError as exc:
        if isinstance(exc, error.FilteredRepoLookupError):
            raise
        found = Site(repo).catalog.named(key)
        if not found:
            raise
        if len(found) > 1:
            raise _ambiguous(key) from None
        return found[0]
    if node is None:  # the working directory
        raise unknown(key)
    if len(key) < 40 and is_prefix(repo, key, node):
        try:
            found = Site(repo).catalog.named(key)
        except HeadlessError:
            return node  # public history is served without the database
        if any(other != node for other in found):
            raise _ambiguous(key)
    return node


def is_prefix(repo: Any, key: bytes, node: bytes) -> bool:
    """Whether a name stands for a public changeset as a prefix of its hash."""
    number = key.isdigit() and repo.changelog.rev(node) == int(key)
    return not number and hex(node).startswith(key)


def listkeys(orig: Any, repo: Any, namespace: bytes) -> dict[bytes, bytes]:
    """Keys of public history; ``phases`` also names a draft root, and ``bookmarks``
    the newest bookmarks of drafts.

    After a push an empty answer would mean "all that I have is public", and the
    client would publish what it pushed. The null revision is the root of every
    changeset, those with a root of their own included.
    """
    keys: dict[bytes, bytes] = orig(repo, namespace)
    if namespace == b'phases' and config.participates(repo):
        keys[hex(nullid)] = b'1'
    if namespace == b'bookmarks' and config.participates(repo):
        return {**_draft_bookmarks(repo), **keys}
    return keys


def _draft_bookmarks(repo: Any) -> dict[bytes, bytes]:
    """Those that a client is told of: one that it is not told of, it neither pulls nor
    moves by name. None where the database fails: public history is served."""
    with hgcompat.clear_errors():
        site = Site(repo)
    if not site.settings.listed_bookmarks:
        return {}
    try:
        found = site.catalog.newest_bookmarks(site.settings.listed_bookmarks)
    except HeadlessError as exc:
        repo.ui.log(b'headless', b'listkeys: %s\n', hgcompat.to_bytes(exc.line()))
        return {}
    return {name: hex(node) for name, node in found.items()}


def unknown(name: bytes) -> error.RepoLookupError:
    """Mercurial's error for a name that nothing has, in its words: consumers look for them."""
    return error.RepoLookupError(_(b"unknown revision '%s'") % hgcompat.escaped_bytes(name))


def _node(found: Any) -> bytes:
    node: bytes = found
    return node


def _ambiguous(key: bytes) -> error.LookupError:
    # As Mercurial's changelog says it of public changesets.
    return error.AmbiguousPrefixLookupError(key, b'00changelog', _(b'ambiguous identifier'))
