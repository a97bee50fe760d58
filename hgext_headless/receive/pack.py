"""The bundles of a push's drafts, written and checked."""

from __future__ import annotations

from collections.abc import Collection

from ..bundles import checks, write
from ..lifecycle import upload
from .incoming import Incoming
from .partition import Divided
from .quarantine import Quarantine


def bundles(
    incoming: Incoming, quarantine: Quarantine, divided: Divided, held: Collection[bytes]
) -> upload.Files:
    """Write a bundle for each draft head that is not in ``held``, and check it against the push."""
    has_node = incoming.repo.unfiltered().changelog.hasnode
    newly_public = set(divided.public)
    files = []
    for head in divided.draft_heads:
        if head in held:
            continue
        bundle, path = write.write_head(
            quarantine.overlay,
            incoming.backend.settings.repository,
            head,
            lambda node: node in newly_public or has_node(node),
            incoming.folder,
        )
        checks.check_written(quarantine.overlay, bundle, path, quarantine.checked)
        files.append((bundle, path))
    incoming.stages.note(
        bundles=len(files), stored_bytes=sum(bundle.size for bundle, _path in files)
    )
    return files
