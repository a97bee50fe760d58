"""List pushes that conflict with recorded ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mercurial.node import hex, short
from mercurial.utils import dateutil

from .. import hgcompat
from ..model import Conflict, PushNodes
from . import options


def show(fm: Any, conflicts: Iterable[Conflict], ours: bytes) -> None:
    """Write a line for each conflict; ``ours`` introduces the push that was not written."""
    for conflict in conflicts:
        push = conflict.push
        if conflict.recorded is not None:
            recorded = _described(conflict.recorded)
        else:
            recorded = b'%s came with push %d' % (hex(conflict.node), conflict.owner)
        fm.startitem()
        fm.data(kind=b'conflict', push=push.push_id, recorded=recorded, found=_described(push))
        fm.plain(
            b'push %d conflicts: recorded is %s; %s %s\n'
            % (push.push_id, recorded, ours, _described(push))
        )


def _described(push: PushNodes) -> bytes:
    user = hgcompat.escaped_bytes(push.user)
    date = dateutil.datestr((push.date, 0), b'%Y-%m-%d %H:%M:%S')
    described = b'%s at %s' % (user, date)
    if not push.nodes:
        return described
    names = b' '.join(short(node) for node in push.nodes[:3])
    more = b' ...' if len(push.nodes) > 3 else b''
    number = options.number(len(push.nodes), 'changeset')
    return b'%s with %s (%s%s)' % (described, number, names, more)
