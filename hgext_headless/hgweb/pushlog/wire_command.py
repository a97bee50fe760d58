"""The wire command ``pushlog``, by which clients with Mozilla's extension copy the pushlog.

The protocol is that of ``hgext/pushlog`` in Mozilla's version-control-tools: a line ``1``, then
a line for each push from the id ``firstpush`` on, with its id, user, date and changesets; or a
line ``0`` and a line that says what failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mercurial import wireprototypes, wireprotov1server
from mercurial.node import hex

from ... import config, hgcompat
from ...backend import Backend
from ...errors import HeadlessError
from ...model import Selection
from . import visibility
from .query import MAX_ID

_NAME = b'pushlog'
#: Number of pushes in one query.
_BATCH = 500


def install() -> None:
    """Register the command, once."""
    if _NAME not in wireprotov1server.commands:
        wireprotov1server.wireprotocommand(_NAME, b'firstpush', permission=b'pull')(answer)
    hgcompat.wrap_once(wireprotov1server, '_capabilities', capabilities)


def capabilities(orig: Any, repo: Any, proto: Any) -> list[bytes]:
    """Return the capabilities of a server, with this command."""
    found: list[bytes] = orig(repo, proto)
    return [*found, _NAME] if config.participates(repo) else found


def answer(repo: Any, proto: Any, firstpush: bytes) -> Any:
    """Return ``headless.pushlog-limit`` pushes at most: clients ask for more at their next pull."""
    try:
        if not config.participates(repo):
            raise ValueError('there is no pushlog')
        lines = [b'1', *_lines(Backend(repo), repo, int(firstpush))]
    except (HeadlessError, ValueError) as exc:
        text = exc.line() if isinstance(exc, HeadlessError) else str(exc)
        lines = [b'0', hgcompat.to_bytes(text)]
    return wireprototypes.bytesresponse(b'\n'.join(lines))


def _lines(backend: Backend, repo: Any, first: int) -> Iterator[bytes]:
    with backend.reader.reading() as session:
        last = visibility.last_shown(backend, session, repo)
        selection = Selection(after=min(max(first, 1) - 1, MAX_ID), upto=last)
        limit = backend.settings.pushlog_limit or None
        entries = session.entries(selection, newest=False, limit=limit)
        for start in range(0, len(entries), _BATCH):
            batch = entries[start : start + _BATCH]
            nodes = session.nodes_of([entry.push_id for entry in batch])
            for entry in batch:
                listed = b' '.join(hex(node) for node, _extras in nodes[entry.push_id])
                user = b'_'.join(entry.user.split()) or b'-'
                yield b'%d %s %d %s' % (entry.push_id, user, entry.date, listed)
