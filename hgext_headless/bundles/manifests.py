"""What changesets change in their manifests, at the cost of what was sent where that suffices."""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from typing import Any

from mercurial import manifest

from .. import hgcompat

#: What precedes the data of a hunk (``hg help internals.changegroups``): where what it replaces
#: starts and ends, and the size of the data.
_HUNK = struct.Struct('>lll')

#: By file name: node and flag before and after, None if the file is not there.
Changes = Mapping[bytes, tuple[tuple['bytes | None', bytes], tuple['bytes | None', bytes]]]


class Manifests:
    """The manifests of ``overlay``, of which the hashes of those laid over it are checked.

    A manifest is large. So of one that was received as a delta against that of its changeset's
    parent, which is what clients send, the lines of the delta alone are parsed and compared.
    """

    def __init__(self, overlay: Any) -> None:
        self._log = overlay.manifestlog.getstorage(b'')
        # A changeset's and its parent's. Mercurial keeps more.
        self.read = functools.lru_cache(2)(functools.partial(_read, overlay))
        #: The node and the text that were read last: most changesets are on the one before.
        self._last: tuple[bytes, bytes] = (b'', b'')

    def changes(self, before: bytes, after: bytes) -> Changes:
        """Return in what the manifest ``after`` differs from ``before``, one that was checked.

        Raise Mercurial's errors.
        """
        if before == after:
            return {}
        log = self._log
        rev = log.rev(after)
        if rev > log.repotiprev and log.index[rev][3] == log.rev(before):
            last, text = self._last
            if last != before:
                text = log.text(before)
            self._last = after, log.revision(after)
            lines = changed_lines(text, log.revdiff(log.rev(before), rev))
            if lines is not None:
                old, new = (manifest.manifestdict(len(after), part) for part in lines)
                found: Changes = old.diff(new)
                return found
        found = self.read(before).diff(self.read(after))
        return found


def _read(overlay: Any, node: bytes) -> Any:
    log = overlay.manifestlog.getstorage(b'')
    if hgcompat.repository_has(log, node):
        return overlay.manifestlog[node].read()  # once for all overlays
    return manifest.manifestdict(len(node), log.revision(node))


def changed_lines(text: bytes, delta: bytes) -> tuple[bytes, bytes] | None:
    """Return the lines that ``delta`` takes out of the manifest ``text``, and those it puts there.

    Return None if it cuts lines, or if names may not be sorted where it joins them.
    """
    old, new = [], []
    at = 0
    while at < len(delta):
        start, end, size = _HUNK.unpack_from(delta, at)
        at += _HUNK.size + size
        data = delta[at - size : at]
        if not (_begins_line(text, start) and _begins_line(text, end) and data[-1:] in b'\n'):
            return None
        if data:
            first, last = _name(data, 0), _name(data, data.rfind(b'\n', 0, -1) + 1)
            if start and first <= _name(text, text.rfind(b'\n', 0, start - 1) + 1):
                return None
            if end < len(text) and last >= _name(text, end):
                return None
        old.append(text[start:end])
        new.append(data)
    return b''.join(old), b''.join(new)


def _begins_line(text: bytes, position: int) -> bool:
    return not position or text[position - 1 : position] == b'\n'


def _name(text: bytes, position: int) -> bytes:
    """Return the name in the line of a manifest that begins at ``position``."""
    return text[position : text.find(b'\0', position)]
