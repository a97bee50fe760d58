"""Writing the bundle of a draft head, and proving that it stands alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from mercurial import error

from .. import hgcompat
from ..errors import Corrupt, Refused
from ..model import Bundle, Changeset
from . import checks, overlay as overlays, write
from .ancestry import Stack


def written(
    repo: Any, under: Any, repository: str, stack: Stack, folder: str
) -> tuple[Bundle, str, list[Changeset]]:
    """Write the bundle of a draft head into a folder; read it back, and check it whole.

    Returns it with its file's path and the facts about its changesets. ``repository`` is
    the name that its key begins with, ``under`` the repository over which it is laid.
    Where that has public history alone, each revision that the bundle uses is proved to
    be in one of the two. Where it is ``repo`` itself, Mercurial reads what it has already
    from there: then the check is for what the bundle holds by name, and for its bytes.

    Raises `errors.Corrupt`, and `errors.Refused` where a push of it would be refused.
    """
    with _named(stack):
        bundle, path = write.write(
            repo.unfiltered(), repository, stack.head, stack.bases, folder
        )
        layer = overlays.uncompressed(repo.ui, bundle, path)
        if checks.nodes(layer) != list(stack.nodes) or bundle.nodes != stack.nodes:
            raise Corrupt('its bundle does not hold the changesets that it should')
        combined = os.path.join(folder, 'overlay.hg')
        overlays.write(repo.ui, [layer], combined)
        overlay = overlays.lay(under, combined)
        try:
            changesets = checks.checked(overlay, layer, stack.nodes).changesets
        finally:
            overlay.close()
        os.unlink(layer.path)
    return bundle, path, changesets


@contextlib.contextmanager
def _named(stack: Stack) -> Iterator[None]:
    """Say which draft it is that has an error."""
    draft = f'draft {stack.head.hex()}'
    try:
        with checks.misses():
            yield
    except checks.Unfit as exc:
        raise Corrupt(f'{draft}: {exc}') from exc
    except (Refused, Corrupt) as exc:
        raise type(exc)(f'{draft}: {exc}') from exc
    except (*hgcompat.UNREADABLE, error.Abort) as exc:
        raise Corrupt(f'{draft} cannot be read ({type(exc).__name__})') from exc
