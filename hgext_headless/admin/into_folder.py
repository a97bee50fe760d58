"""Exporting to a folder of bundles."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ..bundles import overlay
from ..catalog import pushlog2_writing
from ..model import Bundle, Clash, Corrupt, PastPush, Refused, Temporary
from ..site import Site


class FolderTarget:
    """An `export_target.Target`: each bundle as it is stored, named after its head."""

    def __init__(self, site: Site, path: str) -> None:
        self._site = site
        self._path = path
        self.pushlog = os.path.join(path, 'pushlog2.db')

    def begin(self) -> None:
        """Raises `model.Refused` where the folder can't be made."""
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
            # What a killed one has left is written over.
            part = f'{self._file(bundle)}.part'
            try:
                overlay.fetch_as_stored(self._site.store, bundle, part)
                os.replace(part, self._file(bundle))
            except Corrupt as exc:
                if os.path.exists(part):
                    os.unlink(part)
                yield bundle, str(exc)
            except OSError as exc:
                raise Temporary(f'{part} cannot be written: {exc.strerror}') from exc

    def mark(self, bookmarks: Sequence[tuple[bytes, bytes]]) -> None:
        """A folder has no place for bookmarks."""

    def add_pushes(
        self, file: pushlog2_writing.WritableFile, pushes: Sequence[PastPush]
    ) -> list[Clash]:
        return file.add(pushes, None)
