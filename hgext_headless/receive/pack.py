"""The bundles of a push, written and checked: of drafts, and for the log of public history."""

from __future__ import annotations

import functools
from collections.abc import Collection

from .. import hgcompat
from ..bundles import check, overlay as overlays, write
from ..lifecycle import upload
from ..model import Published
from ..place import Place
from ..replication import append
from . import bookmarks
from .incoming import Incoming
from .partition import Divided
from .quarantine import Quarantine


def bundles(
    incoming: Incoming, quarantine: Quarantine, divided: Divided, held: Collection[bytes]
) -> upload.Files:
    """Write a bundle for each draft head that is not in ``held``, and check it against the push."""
    is_applied = functools.partial(hgcompat.repository_has, quarantine.overlay.changelog)
    newly_public = set(divided.public)
    files = []
    with overlays.keeping_logs(quarantine.overlay):
        for head in divided.draft_heads:
            if head in held:
                continue
            bundle, path = write.write_head(
                quarantine.overlay,
                incoming.backend.settings.repository,
                head,
                lambda node: node in newly_public or is_applied(node),
                incoming.folder,
            )
            check.check_written(quarantine.overlay, bundle, path, quarantine.checked)
            files.append((bundle, path))
    incoming.stages.note(
        bundles=len(files), stored_bytes=sum(bundle.size for bundle, _path in files)
    )
    return files


def public(
    incoming: Incoming,
    quarantine: Quarantine,
    divided: Divided,
    moves: bookmarks.Plan,
    place: Place | None,
) -> tuple[Published | None, upload.Files]:
    """Write the bundle of what the log of public history lacks: see `append.pack`."""
    if place is None:
        return None, []
    return append.pack(
        incoming.repo,
        incoming.backend,
        incoming.folder,
        place,
        quarantine.overlay,
        divided.public,
        divided.public_heads,
        [*moves.applied, *((name, None) for name in moves.leaving)],
    )
