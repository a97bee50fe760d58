"""The bundle2 parts of a push (``hg help internals.bundle2``).

Each handler replaces Mercurial's own, and calls it for repositories that are not headless and
for operations that are not a push. Nothing is applied yet, because some parts come too late:
phases come after their changesets.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

from mercurial import bookmarks, bundle2, phases, pushkey as wireformat
from mercurial.node import nullid

from .. import hgcompat
from ..bundles import markers
from ..errors import Refused
from . import pushkey
from .incoming import MODE, Incoming
from .stream import BoundedStream

Handler = Callable[..., Any]

#: Maximum size in bytes of a part that is kept in memory.
_MAX_SMALL_PART = 16 * 1024 * 1024
#: Maximum size in bytes of a client's capabilities; hg's have less than 1 KB.
_MAX_CAPABILITIES = 64 * 1024


def incoming_of(op: Any) -> Incoming | None:
    """Return the push of a bundle2 operation; None if the operation is not a push."""
    # The operation of an interrupt has no modes.
    push: Incoming | None = getattr(op, 'modes', {}).get(MODE)
    return push


def install() -> None:
    """Replace the handlers in Mercurial's table of bundle2 parts."""
    table = hgcompat.part_handlers
    for kind, orig in list(table.items()):
        handler = functools.partial(_handle, _HANDLERS.get(kind, _refuse), orig)
        handler.params = orig.params  # type: ignore[attr-defined]
        table[kind] = handler


def _handle(handler: Handler, orig: Handler, op: Any, part: Any) -> None:
    # The operation of a part inside another part's payload does not have the push.
    if incoming_of(op) is None and isinstance(source := hgcompat.part_source(part), BoundedStream):
        raise source.end(
            Refused(f'a push may not have a part {hgcompat.escaped(part.type)} inside another')
        )
    handler(orig, op, part)


def _small(part: Any, limit: int = _MAX_SMALL_PART) -> bytes:
    data: bytes = part.read(limit)
    if part.read(1):
        raise Refused(f'part {hgcompat.escaped(part.type)} is too large')
    return data


def _refuse(orig: Handler, op: Any, part: Any) -> None:
    if incoming_of(op) is None:
        return orig(op, part)
    raise Refused(f'a push may not have a part {hgcompat.escaped(part.type)}')


def _reply(op: Any, part: Any, kind: bytes, **params: bytes) -> None:
    if op.reply is not None:
        answer = op.reply.newpart(kind, mandatory=False)
        answer.addparam(b'in-reply-to', b'%d' % part.id, mandatory=False)
        for name, value in params.items():
            answer.addparam(hgcompat.to_bytes(name), value, mandatory=False)


def changegroup(orig: Handler, op: Any, part: Any) -> None:
    incoming = incoming_of(op)
    if incoming is None:
        return orig(op, part)
    if b'treemanifest' in part.params:
        raise Refused('tree manifests are not supported')
    incoming.receive(part, part.params.get(b'version', b'01'))
    # If the push fails, an error replaces the reply.
    _reply(op, part, b'reply:changegroup', **{'return': b'1'})


def phase_heads(orig: Handler, op: Any, part: Any) -> None:
    incoming = incoming_of(op)
    if incoming is None:
        return orig(op, part)
    heads = phases.binarydecode(io.BytesIO(_small(part)))
    for phase, nodes in heads.items():
        if nodes and phase not in (phases.public, phases.draft):
            name = hgcompat.to_str(phases.phasenames[phase])
            raise Refused(f'changeset {nodes[0].hex()[:12]} is {name}: it may not be pushed')
    incoming.public_heads += [n for n in heads[phases.public] if n != nullid]


def check_heads(orig: Handler, op: Any, part: Any) -> None:
    incoming = incoming_of(op)
    if incoming is None:
        return orig(op, part)
    data = _small(part)
    # Mercurial's check needs the lock, so it runs in `apply`. Drafts add no head: for
    # them it does not matter whether another push changed public history.
    incoming.checks.append(lambda locked: orig(locked, io.BytesIO(data)))


def check_phases(orig: Handler, op: Any, part: Any) -> None:
    if incoming_of(op) is None:
        return orig(op, part)
    # The client repeats the draft roots that `wire.phase_roots` named.
    _small(part)


def check_bookmarks(orig: Handler, op: Any, part: Any) -> None:
    incoming = incoming_of(op)
    if incoming is None:
        return orig(op, part)
    for name, node in bookmarks.binarydecode(op.repo, io.BytesIO(_small(part))):
        incoming.expected[name] = (node,)


def set_bookmarks(orig: Handler, op: Any, part: Any) -> None:
    incoming = incoming_of(op)
    if incoming is None:
        return orig(op, part)
    incoming.bookmarks += bookmarks.binarydecode(op.repo, io.BytesIO(_small(part)))


def push_key(orig: Handler, op: Any, part: Any) -> None:
    incoming = incoming_of(op)
    if incoming is None:
        return orig(op, part)
    params = (b'namespace', b'key', b'old', b'new')
    namespace, key, old, new = (wireformat.decode(part.params[name]) for name in params)
    if not pushkey.take(incoming, namespace, key, old, new):
        raise Refused(
            f'this server does not set {hgcompat.escaped(key)} of {hgcompat.escaped(namespace)}'
        )
    _reply(op, part, b'reply:pushkey', **{'return': b'1'})


def obsmarkers(orig: Handler, op: Any, part: Any) -> None:
    incoming = incoming_of(op)
    if incoming is None:
        return orig(op, part)
    if not op.repo.obsstore.readonly:
        incoming.markers += markers.read(_small(part))


def reply_capabilities(orig: Handler, op: Any, part: Any) -> None:
    if incoming_of(op) is None:
        return orig(op, part)
    capabilities = bundle2.decodecaps(_small(part, _MAX_CAPABILITIES))
    if op.reply is None:
        op.reply = bundle2.bundle20(op.ui, capabilities)


def push_variables(orig: Handler, op: Any, part: Any) -> None:
    orig(op, part)  # it reads only parameters


def ignore(orig: Handler, op: Any, part: Any) -> None:
    """Leave unread a part that is of no use here."""
    if incoming_of(op) is None:
        orig(op, part)


_HANDLERS: dict[bytes, Handler] = {
    b'changegroup': changegroup,
    b'phase-heads': phase_heads,
    b'check:heads': check_heads,
    b'check:updated-heads': check_heads,
    b'check:phases': check_phases,
    b'check:bookmarks': check_bookmarks,
    b'bookmarks': set_bookmarks,
    b'pushkey': push_key,
    b'obsmarkers': obsmarkers,
    b'replycaps': reply_capabilities,
    b'pushvars': push_variables,
    b'output': ignore,
    b'cache:rev-branch-cache': ignore,
}
