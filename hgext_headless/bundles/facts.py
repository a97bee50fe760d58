"""The facts about a changeset that the catalog records."""

from __future__ import annotations

from typing import Any

from .. import hgcompat
from ..errors import Refused
from ..model import Changeset

#: Maximum size of a branch name in bytes: the database indexes it.
_MAX_BRANCH = 1000
_DATES = range(-(2**62), 2**62)
_TIMEZONES = range(-(2**31), 2**31)


def check(changeset: Changeset) -> None:
    """Raise `Refused` if the catalog cannot record a value of ``changeset``."""
    name = changeset.node.hex()[:12]
    if changeset.date not in _DATES or changeset.timezone not in _TIMEZONES:
        raise Refused(f'changeset {name} has a date that is out of range')
    if len(changeset.branch) > _MAX_BRANCH:
        shown = hgcompat.escaped(changeset.branch[:40])
        raise Refused(f'the name of branch {shown}... of changeset {name} is too long')


def of_changelog(repo: Any, node: bytes) -> Changeset:
    """Return the facts about a changeset from the changelog alone, without its manifest.

    Raise Mercurial's error if the changeset is missing or unreadable.
    """
    changelog = repo.changelog
    entry = changelog.changelogrevision(node)
    # Author and description as stored: hg's own properties recode them.
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
