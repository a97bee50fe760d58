"""Write the bundles that are stored.

Their format is HG10GZ with changegroup 01, because bundle2's ``remote-changegroup`` part takes
no other (``hg help internals.bundle2``).
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mercurial import changegroup, discovery, error, util
from mercurial.node import nullid

from .. import hgcompat, store as stores
from ..errors import Corrupt, Refused
from ..model import Bundle, Changeset
from . import ancestry, check, overlay as overlays
from .ancestry import Stack

FORMAT = b'HG10GZ'
#: How many bytes are compressed at a time, how well, and how many of them in four places show
#: whether it is worth it: what is saved at least.
_BLOCK, _LEVEL, _SAMPLE, _WORTH = 1 << 20, 6, 4096, 0.95


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
    with open(path, 'wb') as out:
        out.write(FORMAT)
        out.writelines(_compressed(changegroup.makestream(overlay, outgoing, b'01', b'push')))
    name, check = digests(path)
    bundle = Bundle(
        key=stores.key(repository, name),
        size=os.path.getsize(path),
        sha512=check,
        head=head,
        bases=common,
        nodes=tuple(outgoing.missing),
    )
    return bundle, path


def _compressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a zlib stream of ``chunks``.

    It is made of blocks with an end of their own, so that what samples show not to become smaller
    is left as it is: to try takes longer than all else.
    """
    source = util.chunkbuffer(chunks)
    check = zlib.adler32(b'')
    yield b'\x78\x9c'
    while block := source.read(_BLOCK):
        check = zlib.adler32(block, check)
        sample = b''.join(block[at : at + _SAMPLE] for at in range(0, len(block), _BLOCK // 4))
        gains = len(zlib.compress(sample, 1)) < _WORTH * len(sample)
        deflate = zlib.compressobj(_LEVEL if gains else 0, wbits=-zlib.MAX_WBITS)
        yield deflate.compress(block) + deflate.flush(zlib.Z_SYNC_FLUSH)
    yield b'\x03\0' + check.to_bytes(4, 'big')


def digests(path: str) -> tuple[str, str]:
    """Return the SHA-256 and the SHA-512 of a file, hexadecimal.

    The first names the bundle's object, the second is checked by clients.
    """
    with open(path, 'rb') as file:
        name, check = stores.hashed(file, 'sha256', 'sha512')
    return name.hexdigest(), check.hexdigest()


def write_checked(
    repo: Any, under: Any, repository: str, stack: Stack, folder: str
) -> tuple[Bundle, str, list[Changeset]]:
    """Write the bundle of ``stack`` into ``folder``, read it back and check it.

    Return the bundle, its file's path, and the facts about its changesets. The bundle's key
    begins with ``repository``. ``under`` is the repository over which the bundle is laid for
    the check. If it has public history only, the check proves that each revision the bundle
    uses is in the bundle or in ``under``. If it is ``repo`` itself, Mercurial reads revisions
    that it has already from there: then only the bundle's list of changesets and its bytes are
    checked.

    Raise `errors.Corrupt`, and `errors.Refused` if a push of the bundle would be refused.
    """
    with _named(stack):
        bundle, path = write(repo.unfiltered(), repository, stack.head, stack.bases, folder)
        layer = overlays.uncompressed(repo.ui, bundle, path)
        if overlays.nodes(layer) != list(stack.nodes) or bundle.nodes != stack.nodes:
            raise Corrupt('its bundle does not hold the changesets that it should')
        with overlays.laid(under, [layer], folder) as overlay:
            changesets = check.checked(overlay, layer).changesets
        os.unlink(layer.path)
    return bundle, path, changesets


@contextlib.contextmanager
def _named(stack: Stack) -> Iterator[None]:
    """Add the draft's hash to the text of an error."""
    draft = f'draft {stack.head.hex()}'
    try:
        with check.misses():
            yield
    except check.Unfit as exc:
        raise Corrupt(f'{draft}: {exc}') from exc
    except (Refused, Corrupt) as exc:
        raise type(exc)(f'{draft}: {exc}') from exc
    except (*hgcompat.UNREADABLE, error.Abort) as exc:
        raise Corrupt(f'{draft} cannot be read ({type(exc).__name__})') from exc
