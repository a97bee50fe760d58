"""Write the bundle of a draft head, and check that it needs nothing but public history."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from mercurial import error

from .. import hgcompat
from ..errors import Corrupt, Refused
from ..model import Bundle, Changeset
from . import check_received, overlay as overlays, write
from .ancestry import Stack


def written(
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
        bundle, path = write.write(
            repo.unfiltered(), repository, stack.head, stack.bases, folder
        )
        layer = overlays.uncompressed(repo.ui, bundle, path)
        if overlays.nodes(layer) != list(stack.nodes) or bundle.nodes != stack.nodes:
            raise Corrupt('its bundle does not hold the changesets that it should')
        combined = os.path.join(folder, 'overlay.hg')
        overlays.write(repo.ui, [layer], combined)
        overlay = overlays.lay(under, combined)
        try:
            changesets = check_received.checked(overlay, layer, stack.nodes).changesets
        finally:
            overlay.close()
        os.unlink(layer.path)
    return bundle, path, changesets


@contextlib.contextmanager
def _named(stack: Stack) -> Iterator[None]:
    """Add the draft's hash to the text of an error."""
    draft = f'draft {stack.head.hex()}'
    try:
        with check_received.misses():
            yield
    except check_received.Unfit as exc:
        raise Corrupt(f'{draft}: {exc}') from exc
    except (Refused, Corrupt) as exc:
        raise type(exc)(f'{draft}: {exc}') from exc
    except (*hgcompat.UNREADABLE, error.Abort) as exc:
        raise Corrupt(f'{draft} cannot be read ({type(exc).__name__})') from exc
