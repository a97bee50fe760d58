"""What was received of a push: in files and in memory, not applied."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .. import config, hgcompat, requirement, timings
from ..backend import Backend
from ..bundles import changegroups
from ..bundles.markers import Raw
from ..bundles.overlay import Layer, scratch
from ..errors import Refused
from ..timings import Stages

#: How much memory the parts of a push may take, in bytes, apart from its changegroup.
_MAX_MEMORY = 128 * 1024 * 1024
#: How many bookmarks a push may move, and keys it may set: hooks run for each.
_MOST_NAMES = 1000
#: What one node, string or tuple takes at least, in bytes: on the wire it can be two bytes.
SMALL = 64


@dataclass
class Incoming:
    """One push while it is received.

    ``layer`` is the changegroup's file, and ``entries`` are its changelog entries, in order.
    `quarantine.sort` puts them in another one: ``is_sorted`` tells whether the file has it, and
    ``new`` are the nodes of those that are new to this server, the last ones; ``missing`` of those
    that its public history lacks.
    ``public_heads`` are nodes that the client names public. ``bookmarks`` maps names to nodes
    (None deletes); ``expected`` maps a bookmark's name to nodes: the client expects it
    at one of them. ``checks`` are the client's assumptions about public history: callables that
    take a bundle2 operation which holds the lock, and raise `error.PushRaced`. ``markers`` are
    obsolescence markers. ``keys`` came as ``pushkey``: the arguments of its hooks. ``hookargs``
    are arguments that the client adds for all hooks. ``size`` is the decompressed size of the
    changegroup in bytes. ``stages`` is for the log.
    """

    repo: Any
    backend: Backend
    source: bytes
    url: bytes
    folder: str
    stages: Stages
    entries: list[hgcompat.Delta] = field(default_factory=list)
    new: list[bytes] = field(default_factory=list)
    missing: set[bytes] = field(default_factory=set)
    is_sorted: bool = True
    layer: Layer | None = None
    size: int = 0
    public_heads: list[bytes] = field(default_factory=list)
    bookmarks: dict[bytes, bytes | None] = field(default_factory=dict)
    expected: dict[bytes, tuple[bytes | None, ...]] = field(default_factory=dict)
    checks: list[Callable[[Any], None]] = field(default_factory=list)
    markers: list[Raw] = field(default_factory=list)
    keys: list[dict[str, bytes]] = field(default_factory=list)
    hookargs: dict[bytes, bytes] = field(default_factory=dict)
    _memory_left: int = _MAX_MEMORY

    @property
    def ui(self) -> Any:
        return self.repo.ui

    def keep(self, size: int) -> None:
        """Count ``size`` bytes of memory. Raise `Refused` if the whole push takes too much."""
        self._memory_left -= size
        if self._memory_left < 0:
            raise Refused(
                'the phases, bookmarks and markers of the push take more than '
                f'{_MAX_MEMORY >> 20} MB of memory'
            )

    def add_bookmark(self, name: bytes, node: bytes | None) -> None:
        """Move a bookmark, or delete it if ``node`` is None. Raise `Refused` the second time."""
        if name in self.bookmarks:
            raise Refused(f"bookmark '{hgcompat.escaped(name)}' is twice in the push")
        self.bookmarks[name] = node
        if len(self.bookmarks) > _MOST_NAMES:
            raise Refused(f'a push may move at most {_MOST_NAMES} bookmarks')

    def add_key(self, **args: bytes) -> None:
        """Add what came as ``pushkey``. Raise `Refused` if that is too much."""
        self.keys.append(args)
        if len(self.keys) > _MOST_NAMES:
            raise Refused(f'a push may have at most {_MOST_NAMES} keys')

    def receive(self, stream: Any, version: bytes) -> None:
        """Write the changegroup to a file. Raise `Refused` if it is not acceptable."""
        if self.layer is not None:
            raise Refused('a push may have one changegroup')
        path = os.path.join(self.folder, 'incoming.cg')
        with open(path, 'wb') as spool:
            spool.writelines(changegroups.normalized(stream, version, self.entries))
            self.size = spool.tell()
            self.stages.note(bytes=self.size)
        self.layer = Layer(path, b'02')


@contextlib.contextmanager
def opened(repo: Any, source: bytes, url: bytes, event: str = 'push') -> Iterator[Incoming]:
    """Open an empty push with a temporary folder; log one line at the end."""
    backend = repo.headless
    user = config.pusher(repo, backend.settings)
    with scratch() as folder, timings.logged(repo.ui, event, user=user) as stages:
        requirement.ensure(repo)
        yield Incoming(repo, backend, source, url, folder, stages)
