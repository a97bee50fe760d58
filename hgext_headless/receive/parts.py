"""The bundle2 parts of a push (``hg help internals.bundle2``).

Only what is in this file's table gets a part of a push: the handlers of Mercurial, and those of
other extensions, do not. Nothing is applied yet, because some parts come too late: phases come
after their changesets.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from mercurial import bookmarks, bundle2, error, phases, pushkey, util
from mercurial.node import bin, nullid, wdirid

from .. import hgcompat
from ..bundles import markers
from ..errors import Refused
from .incoming import SMALL, Incoming
from .stream import Body

#: What a part takes with its answer, in bytes.
_PART = 1024
_CHUNK = 64 * 1024
#: Maximum size in bytes of a client's capabilities; hg's have less than 1 KB.
_MAX_CAPABILITIES = 64 * 1024

Handler = Callable[[Incoming, Any, Any], None]


#: How kinds of parts are received, and which of their parameters may be mandatory.
_KNOWN: dict[bytes, tuple[Handler, frozenset[bytes]]] = {}


def _part(*kinds: bytes, params: tuple[bytes, ...] = ()) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        _KNOWN.update(dict.fromkeys(kinds, (handler, frozenset(params))))
        return handler

    return register


def receive(push: Incoming, op: Any, part: Any) -> None:
    """Keep a part of a push, or raise `Refused`; ``op`` is Mercurial's bundle operation.

    As in Mercurial, an advisory part that nobody knows is ignored.
    """
    push.keep(_PART)
    for name, value in part.params.items():
        push.keep(2 * SMALL + len(name) + len(value))
    if part.type not in _KNOWN:
        if part.mandatory or part.type in bundle2.parthandlermapping:
            raise Refused(f'a push may not have a part {hgcompat.escaped(part.type)}')
        return
    handler, params = _KNOWN[part.type]
    unknown = sorted(part.mandatorykeys - params)
    if unknown:
        raise Refused(
            f'a push may not have a part {hgcompat.escaped(part.type)} with '
            f'{hgcompat.escaped(b" ".join(unknown))}'
        )
    handler(push, op, part)


def refuse_nested(orig: Any, interrupt: Any) -> None:
    """Wrap `bundle2.interrupthandler`: refuse a part inside the payload of a push's part."""
    body = hgcompat.stream_of(interrupt)
    if isinstance(body, Body):
        raise body.end(Refused('a push may not have a part inside another'))
    orig(interrupt)


def take_key(push: Incoming, namespace: bytes, key: bytes, old: bytes, new: bytes) -> bool:
    """Add what came as ``pushkey`` to a push; return False if its namespace is not supported.

    Raise `Refused`, and what `hgcompat.GARBLED` lists.
    """
    if namespace == b'phases' and new == b'%d' % phases.public:
        push.public_heads.append(bin(key))
    elif namespace == b'bookmarks':
        target = bin(new) or None
        push.add_bookmark(key, target)
        push.expected[key] = (bin(old) or None, target)
    elif namespace == b'obsolete' and key.startswith(b'dump') and not old:
        if not push.repo.obsstore.readonly:
            _add_markers(push, util.b85decode(new))
    else:
        return False
    push.add_key(namespace=namespace, key=key, old=old, new=new)
    return True


def _read(push: Incoming, part: Any) -> io.BytesIO:
    """Return the payload of a part, and count it."""
    data = io.BytesIO()
    while chunk := part.read(_CHUNK):
        push.keep(len(chunk))
        data.write(chunk)
    data.seek(0)
    return data


def _reply(op: Any, part: Any, kind: bytes, **params: bytes) -> None:
    if op.reply is not None:
        answer = op.reply.newpart(kind, mandatory=False)
        answer.addparam(b'in-reply-to', b'%d' % part.id, mandatory=False)
        for name, value in params.items():
            answer.addparam(hgcompat.to_bytes(name), value, mandatory=False)


@_part(b'changegroup', params=(b'version', b'nbchanges', b'treemanifest'))
def _changegroup(push: Incoming, op: Any, part: Any) -> None:
    if b'treemanifest' in part.params:
        raise Refused('tree manifests are not supported')
    push.receive(part, part.params.get(b'version', b'01'))
    # If the push fails, an error replaces the reply.
    _reply(op, part, b'reply:changegroup', **{'return': b'1'})


@_part(b'phase-heads')
def _phase_heads(push: Incoming, op: Any, part: Any) -> None:
    heads = phases.binarydecode(_read(push, part))
    for phase, nodes in heads.items():
        push.keep(len(nodes) * SMALL)
        if nodes and phase not in (phases.public, phases.draft):
            name = hgcompat.to_str(phases.phasenames[phase])
            raise Refused(f'changeset {nodes[0].hex()[:12]} is {name}: it may not be pushed')
    push.public_heads += [n for n in heads[phases.public] if n != nullid]


@_part(b'check:heads', b'check:updated-heads')
def _check_heads(push: Incoming, op: Any, part: Any) -> None:
    data = _read(push, part).getvalue()
    # Mercurial's check needs the lock, so it runs in `apply`. Drafts add no head: for
    # them it does not matter whether another push changed public history.
    check = bundle2.parthandlermapping[part.type]
    named = {data[i : i + 20] for i in range(0, len(data), 20)}
    if any(len(node) != 20 or node == wdirid for node in named):
        raise Refused(f'the part {hgcompat.escaped(part.type)} is malformed')

    def check_heads(locked: Any) -> None:
        try:
            check(locked, io.BytesIO(data))
        except error.PushRaced:
            if _has_unseen_heads(push, locked.repo, named, part.type == b'check:updated-heads'):
                raise

    push.checks.append(check_heads)


def _has_unseen_heads(push: Incoming, repo: Any, named: set[bytes], only_above: bool) -> bool:
    """Return whether ``repo`` has a head that the client neither ``named`` nor sent.

    What another server has taken, and this one had not yet when the client asked for its heads,
    comes with the push too. With ``only_above``, only heads above those named count.
    """
    if not all(map(repo.changelog.hasnode, named)):
        return True  # even now: the client has seen another history
    seen = named.union(entry.node for entry in push.entries)
    unseen = [head for head in repo.heads() if head not in seen]
    return bool(repo.revs(b'%ln and %ln::', unseen, named) if only_above else unseen)


@_part(b'check:bookmarks')
def _check_bookmarks(push: Incoming, op: Any, part: Any) -> None:
    for name, node in _read_bookmarks(push, op, part):
        push.expected[name] = (node,)


@_part(b'bookmarks')
def _bookmarks(push: Incoming, op: Any, part: Any) -> None:
    for name, node in _read_bookmarks(push, op, part):
        push.add_bookmark(name, node)


def _read_bookmarks(push: Incoming, op: Any, part: Any) -> list[tuple[bytes, bytes | None]]:
    moves: list[tuple[bytes, bytes | None]] = bookmarks.binarydecode(op.repo, _read(push, part))
    push.keep(len(moves) * 4 * SMALL)
    return moves


@_part(b'pushkey', params=(b'namespace', b'key', b'old', b'new'))
def _pushkey(push: Incoming, op: Any, part: Any) -> None:
    params = (b'namespace', b'key', b'old', b'new')
    namespace, key, old, new = (pushkey.decode(part.params[name]) for name in params)
    if not take_key(push, namespace, key, old, new):
        raise Refused(
            f'this server does not set {hgcompat.escaped(key)} of {hgcompat.escaped(namespace)}'
        )
    _reply(op, part, b'reply:pushkey', **{'return': b'1'})


@_part(b'obsmarkers')
def _obsmarkers(push: Incoming, op: Any, part: Any) -> None:
    if not op.repo.obsstore.readonly:
        _add_markers(push, _read(push, part).getvalue())


def _add_markers(push: Incoming, data: bytes) -> None:
    for marker in markers.read(data):
        _predecessor, successors, _flags, metadata, _date, parents = marker
        push.keep((8 + len(successors) + 2 * len(metadata) + len(parents or ())) * SMALL)
        push.markers.append(marker)


@_part(b'replycaps')
def _reply_capabilities(push: Incoming, op: Any, part: Any) -> None:
    data = part.read(_MAX_CAPABILITIES)
    if part.read(1):
        raise Refused('the capabilities of the client are too many')
    if op.reply is None:
        op.reply = bundle2.bundle20(op.ui, bundle2.decodecaps(data))


@_part(b'pushvars')
def _push_variables(push: Incoming, op: Any, part: Any) -> None:
    bundle2.parthandlermapping[part.type](op, part)  # it reads only parameters


@_part(b'check:phases', b'output', b'cache:rev-branch-cache')
def _ignore(push: Incoming, op: Any, part: Any) -> None:
    """Leave unread a part that is of no use here.

    With ``check:phases`` the client repeats the draft roots that `wire.phase_roots` named.
    """
