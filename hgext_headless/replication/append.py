"""Add to the log of public history what a repository has and the log lacks.

A push logs its own public changesets. Those that an operator pulled or published, and those of
a push that died before it was recorded, are logged after each transaction
(`after_transaction`), by the next push, and by ``headless-follow``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mercurial import bundle2, changegroup, discovery
from mercurial.node import bin, nullid

from .. import hgcompat, place as places, store as stores
from ..backend import Backend
from ..bundles import ancestry, check, overlay as overlays, write
from ..catalog import public_log, record
from ..errors import HeadlessError, Temporary
from ..lifecycle import upload
from ..model import Bundle, LogEntry, LogState, Push, Unlogged
from . import unrecorded

#: Hooks that log what a transaction did. They are disabled where something else logs it.
HOOKS = (b'txnclose.headless', b'txnclose-bookmark.headless')

Move = tuple[bytes, 'bytes | None']


def silenced() -> dict[tuple[bytes, bytes], bytes]:
    """Return the configuration in which no transaction is logged."""
    return {(b'hooks', name): b'' for name in HOOKS}


def pack(
    repo: Any,
    backend: Backend,
    folder: str,
    place: LogState,
    overlay: Any = None,
    public: Sequence[bytes] = (),
    public_heads: Sequence[bytes] = (),
    bookmarks: Sequence[Move] = (),
) -> tuple[Unlogged | None, upload.Files]:
    """Write a bundle of what the log lacks into ``folder``; return its entry, and its file.

    ``public`` are changesets that a push is about to add, ``public_heads`` their heads;
    ``overlay`` has them. Return (None, []) if nothing is missing.
    """
    where = repo.unfiltered() if overlay is None else overlay
    own = places.public_heads(repo)
    bases = set(ancestry.bases(where.changelog, public))
    heads = [*(node for node in own if node not in bases), *public_heads]
    published = Unlogged(
        heads=tuple(heads),
        replaced=tuple(place.heads.difference(heads)),
        position=place.position,
        bookmarks=tuple(bookmarks),
    )
    missing = [node for node in heads if node not in place.heads]
    if not missing:
        return (published if bookmarks else None), []
    bundle, path = _write(where, backend.settings.repository, place.heads, missing, folder)
    return published._replace(bundle=bundle), [(bundle, path)]


def _write(
    repo: Any, repository: str, before: frozenset[bytes], heads: list[bytes], folder: str
) -> tuple[Bundle, str]:
    """Write a bundle2 file (``hg help internals.bundle2``): it holds all that a repository can."""
    outgoing = discovery.outgoing(repo, sorted(before) or [nullid], heads)
    path = os.path.join(folder, 'public.hg')
    with repo.ui.silent():  # it counts changesets, to whoever pushes by path or ssh
        bundle2.writenewbundle(
            repo.ui,
            repo,
            b'bundle',
            hgcompat.to_bytes(path),
            b'HG20',
            outgoing,
            {
                b'cg.version': changegroup.safeversion(repo),
                b'tagsfnodescache': False,
                b'revbranchcache': False,
            },
            compression=b'GZ',
        )
    name, check = write.digests(path)
    bundle = Bundle(
        key=stores.key(repository, name),
        size=os.path.getsize(path),
        sha512=check,
        head=heads[-1],
        bases=tuple(ancestry.bases(repo.changelog, outgoing.missing)),
    )
    return bundle, path


def nodes_of(ui: Any, path: str, key: str) -> list[bytes] | None:
    """Return the changesets in the file ``path`` of the object ``key``, if `_write` wrote it.

    Return None for bundles of other formats. Raise `errors.Corrupt` if it is not a bundle.
    """
    found: list[bytes] = []
    with open(path, 'rb') as file:
        bundle = overlays.unbundler(ui, file, key)
        if not isinstance(bundle, bundle2.unbundle20):
            return None
        for part in bundle.iterparts():
            if part.type == b'changegroup':
                unpacker = changegroup.getunbundler(part.params.get(b'version', b'01'), part, None)
                unpacker.changelogheader()
                found += (entry.node for entry in hgcompat.deltas(unpacker))
    return found


def append(
    repo: Any,
    backend: Backend,
    bookmarks: Sequence[Move] = (),
    user: str = '',
    nodes: Sequence[bytes] = (),
) -> int:
    """Log what the repository has and the log lacks; begin the log if it has not begun.

    A push of ``user`` lists those of ``nodes`` that no push has brought. Also record pushes that
    died, and those that the database has lost: see `unrecorded`. Return the number of objects that
    were stored for the log. Raise what `place.find`, the store and the catalog raise.
    """
    unrecorded.record(repo, backend)
    place = begun(repo, backend)
    record_lost(repo, backend, place)
    with overlays.scratch() as folder:
        published, files = pack(repo, backend, folder, place, bookmarks=bookmarks)
        if published is not None:
            changesets = tuple(check.of_changelog(repo.unfiltered(), node) for node in nodes)
            push = Push(user, changesets, published=published)
            upload.stored(backend, files, record.record, push)
    return len(files)


def missing(repo: Any, place: LogState) -> list[bytes]:
    """Return the public changesets that a repository has and the log lacks."""
    heads = [node for node in places.public_heads(repo) if node not in place.heads]
    if not heads:
        return []
    found = repo.unfiltered().set(b'only(%ln, %ln)', heads, place.heads)
    return [context.node() for context in found]


def record_lost(repo: Any, backend: Backend, place: LogState) -> None:
    """Record again the pushes that the database has lost, of which a note is here."""
    lost = missing(repo, place)
    if lost:
        unrecorded.again(repo, backend, unrecorded.Ids(backend), lost)


def begun(repo: Any, backend: Backend) -> LogState:
    """Return the place of a repository in the log, which begins above it if it has not begun."""
    with backend.catalog.reading() as session:
        place = places.find(repo, session)
    if place is None:
        backend.catalog.write(public_log.begin, places.public_heads(repo))
        with backend.catalog.reading() as session:
            place = places.find(repo, session)
    if place is None:
        raise Temporary('the log of public history was deleted at this moment')
    return place


def store_again(repo: Any, backend: Backend, entry: LogEntry) -> bool:
    """Store a new object for an entry whose object is lost.

    Return False if the repository lacks its changesets.
    """
    if not all(places.is_public(repo, node) for node in entry.added):
        return False
    with overlays.scratch() as folder:
        bundle, path = _write(
            repo.unfiltered(),
            backend.settings.repository,
            frozenset(entry.bundle.bases),
            list(entry.added),
            folder,
        )
        upload.stored(backend, [(bundle, path)], public_log.replace, entry.position, bundle)
    return True


def after_transaction(repo: Any, hooktype: bytes, args: dict[str, Any]) -> None:
    """Log what a transaction did, unless it is a push's: the hooks `HOOKS`.

    The transaction is complete, so if the database or the store fails, only warn.
    """
    moves: list[Move] = []
    if hooktype == b'txnclose-bookmark':
        moves.append((args['bookmark'], bin(args['node']) or None))
    elif not ('node' in args or 'phases_moved' in args):
        return
    try:
        append(repo, repo.headless, moves)
    except HeadlessError as exc:
        repo.ui.warn(
            b'%s (the log of public history lacks this change; for changesets, the next push or '
            b'"hg admin::headless-follow" adds it)\n' % hgcompat.to_bytes(exc.line())
        )
