"""The facts about a changeset, as the catalog keeps them."""

from __future__ import annotations

from typing import Any

from ..model import Changeset


def of_changelog(repo: Any, node: bytes) -> Changeset:
    """What the changelog alone says of a changeset: no manifest is read.

    Raises what Mercurial raises where the changeset is not there or not readable.
    """
    changelog = repo.changelog
    entry = changelog.changelogrevision(node)
    # The bytes as they came: hg's own properties recode them.
    _manifest, author, _date, rest = changelog.revision(node).split(b'\n', 3)
    _files, _blank, description = (b'\n' + rest).partition(b'\n\n')
    seconds, timezone = entry.date
    p1, p2 = changelog.parents(node)
    return Changeset(
        node=node,
        p1=p1,
        p2=p2,
        branch=entry.extra.get(b'branch', b'default'),
        author=author,
        date=int(seconds),
        timezone=timezone,
        description=description,
        files=tuple(entry.files),
        extras=tuple(sorted(entry.extra.items())),
    )
