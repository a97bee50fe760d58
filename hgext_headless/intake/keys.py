"""``pushkey``: what clients send where they know no bundle2 part for it."""

from __future__ import annotations

from mercurial import phases, util
from mercurial.node import bin

from ..bundles import markers
from .incoming import Incoming

NAMESPACES = (b'phases', b'bookmarks', b'obsolete')


def take(incoming: Incoming, namespace: bytes, key: bytes, old: bytes, new: bytes) -> bool:
    """Take a key as a part of a push; False where it is none of ours.

    Raises `Refused`, and what `hgcompat.GARBLED` lists.
    """
    if namespace == b'phases' and new == b'%d' % phases.public:
        incoming.public_heads.append(bin(key))
    elif namespace == b'bookmarks':
        target = bin(new) or None
        incoming.bookmarks.append((key, target))
        incoming.expected[key] = (bin(old) or None, target)
    elif namespace == b'obsolete' and key.startswith(b'dump') and not old:
        if not incoming.repo.obsstore.readonly:
            incoming.markers += markers.read(util.b85decode(new))
    else:
        return False
    incoming.keys.append({'namespace': namespace, 'key': key, 'old': old, 'new': new})
    return True
