"""Writing the bundles that are stored.

The format is HG10GZ, changegroup 01: the only one that bundle2's
``remote-changegroup`` part takes (``hg help internals.bundle2``).
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
from ..store import names
from . import ancestry

FORMAT = b'HG10GZ'


def write_head(
    overlay: Any, repository: str, head: bytes, is_public: Callable[[bytes], bool], folder: str
) -> tuple[Bundle, str]:
    """Write the bundle that ends with ``head``: it and all its draft ancestors.

    As `write`; public is what a server of the bundle has.
    """
    nodes = ancestry.above(overlay.changelog, [head], is_public)
    bases = ancestry.bases(overlay.changelog, nodes)
    return write(overlay, repository, head, bases, folder)


def write(
    overlay: Any, repository: str, head: bytes, bases: Iterable[bytes], folder: str
) -> tuple[Bundle, str]:
    """Write the bundle that ends with ``head`` into a folder.

    It holds each ancestor of ``head`` that is no ancestor of ``bases``.
    Returns it with its file's path; its name is its content's digest.
    """
    common = tuple(bases)
    outgoing = discovery.outgoing(overlay, list(common) or [nullid], [head])
    path = os.path.join(folder, f'stored-{head.hex()}.hg')
    bundle2.writenewbundle(
        overlay.ui, overlay, b'push', hgcompat.to_bytes(path), FORMAT, outgoing, {}
    )
    name, check = digests(path)
    bundle = Bundle(
        key=names.key(repository, name),
        size=os.path.getsize(path),
        sha512=check,
        head=head,
        bases=common,
        nodes=tuple(outgoing.missing),
    )
    return bundle, path


def digests(path: str) -> tuple[str, str]:
    """The SHA-256 and the SHA-512 of a file, hexadecimal: the name of a bundle's object, and
    what clients check."""
    name, check = hashlib.sha256(), hashlib.sha512()
    with open(path, 'rb') as file:
        for chunk in iter(lambda: file.read(1 << 20), b''):
            name.update(chunk)
            check.update(chunk)
    return name.hexdigest(), check.hexdigest()
