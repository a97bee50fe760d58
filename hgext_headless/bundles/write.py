"""Write the bundles that are stored.

Their format is HG10GZ with changegroup 01, because bundle2's ``remote-changegroup`` part takes
no other (``hg help internals.bundle2``).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Any

from mercurial import bundle2, discovery
from mercurial.node import nullid

from .. import hgcompat
from ..model import Bundle
from ..store import object_keys
from . import ancestry

FORMAT = b'HG10GZ'


def write_head(
    overlay: Any, repository: str, head: bytes, is_public: Callable[[bytes], bool], folder: str
) -> tuple[Bundle, str]:
    """Write a bundle of ``head`` and all its draft ancestors; return it with its file's path.

    ``is_public`` must be true for the changesets that every server of the bundle has. See
    `write`.
    """
    nodes = ancestry.above(overlay.changelog, [head], is_public)
    bases = ancestry.bases(overlay.changelog, nodes)
    return write(overlay, repository, head, bases, folder)


def write(
    overlay: Any, repository: str, head: bytes, bases: Iterable[bytes], folder: str
) -> tuple[Bundle, str]:
    """Write a bundle of the ancestors of ``head`` into ``folder``, without ancestors of ``bases``.

    Return it with its file's path. Its key is named after the digest of its content.
    """
    common = tuple(bases)
    outgoing = discovery.outgoing(overlay, list(common) or [nullid], [head])
    path = os.path.join(folder, f'stored-{head.hex()}.hg')
    bundle2.writenewbundle(
        overlay.ui, overlay, b'push', hgcompat.to_bytes(path), FORMAT, outgoing, {}
    )
    name, check = digests(path)
    bundle = Bundle(
        key=object_keys.key(repository, name),
        size=os.path.getsize(path),
        sha512=check,
        head=head,
        bases=common,
        nodes=tuple(outgoing.missing),
    )
    return bundle, path


def digests(path: str) -> tuple[str, str]:
    """Return the SHA-256 and the SHA-512 of a file, hexadecimal.

    The first names the bundle's object, the second is checked by clients.
    """
    name, check = hashlib.sha256(), hashlib.sha512()
    with open(path, 'rb') as file:
        for chunk in iter(lambda: file.read(1 << 20), b''):
            name.update(chunk)
            check.update(chunk)
    return name.hexdigest(), check.hexdigest()
