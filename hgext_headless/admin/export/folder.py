"""Export to a folder of bundles."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ... import pushlog2
from ...backend import Backend
from ...bundles import overlay
from ...errors import Corrupt, Refused, Temporary
from ...model import Bundle, Conflict, PastPush


class FolderTarget:
    """A `target.Target`: each bundle is a file as it is stored, named after its head."""

    def __init__(self, backend: Backend, path: str) -> None:
        self._backend = backend
        self._path = path
        self.pushlog = os.path.join(path, 'pushlog2.db')

    def begin(self) -> None:
        """Create the folder. Raise `errors.Refused` if that fails."""
        try:
            os.makedirs(self._path, exist_ok=True)
        except OSError as exc:
            raise Refused(f'{self._path} cannot be made: {exc.strerror}') from exc

    def _file(self, bundle: Bundle) -> str:
        return os.path.join(self._path, f'{bundle.head.hex()}.hg')

    def has(self, bundle: Bundle) -> bool:
        try:
            return os.path.getsize(self._file(bundle)) == bundle.size
        except FileNotFoundError:
            return False

    def take(self, bundles: Sequence[Bundle]) -> Iterator[tuple[Bundle, str]]:
        for bundle in bundles:
            # This overwrites what an export that was killed has left.
            part = f'{self._file(bundle)}.part'
            try:
                overlay.fetch_as_stored(self._backend.store, bundle, part)
                os.replace(part, self._file(bundle))
            except Corrupt as exc:
                if os.path.exists(part):
                    os.unlink(part)
                yield bundle, str(exc)
            except OSError as exc:
                raise Temporary(f'{part} cannot be written: {exc.strerror}') from exc

    def set_bookmarks(self, bookmarks: Sequence[tuple[bytes, bytes]]) -> None:
        """Do nothing: a folder has no bookmarks."""

    def add_pushes(
        self, file: pushlog2.WritableFile, pushes: Sequence[PastPush]
    ) -> list[Conflict]:
        return file.add(pushes, None)
