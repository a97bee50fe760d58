"""The file store: a folder. It is the default."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from .. import sharing
from ..errors import Corrupt, HeadlessError, Misconfigured, Temporary, file_failed
from . import Object, Undeleted, hashed

_TEMPORARY = '.tmp-'


class FileStore:
    """Objects as files in a folder, written durably: fsync, then link.

    Without the folder, every method raises `errors.Misconfigured` if ``must_exist`` returns true:
    its disk may not be mounted. Otherwise `put` makes it.
    """

    def __init__(self, root: str, must_exist: Callable[[], bool] = lambda: False) -> None:
        self._root = root
        self._must_exist = must_exist

    def make(self) -> None:
        """Make the folder, if there is none."""
        with _clear_errors(self._root):
            _make_folders(self._root)

    def _check_root(self) -> None:
        """Look whether the folder is there, before something is made in it or found missing."""
        if not os.path.isdir(self._root) and self._must_exist():
            raise Misconfigured(
                f'the folder {self._root} of headless.store does not exist: is its disk mounted? '
                '(a new one is made by "hg admin::headless-init")'
            )

    def _path(self, key: str) -> str:
        return os.path.join(self._root, *key.split('/'))

    def put(self, key: str, path: str) -> None:
        target = self._path(key)
        folder = os.path.dirname(target)
        self._check_root()
        with _clear_errors(self._root):
            _make_folders(folder)
            descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)
            try:
                with os.fdopen(descriptor, 'wb') as out, open(path, 'rb') as source:
                    shutil.copyfileobj(source, out, 1 << 20)
                    out.flush()
                    os.fsync(out.fileno())
                os.chmod(temporary, 0o644)
                try:  # create only, as S3 does with If-None-Match
                    os.link(temporary, target)
                except FileExistsError:
                    if not filecmp.cmp(path, target, shallow=False):
                        raise Temporary(
                            f'the store has other content under the name {key}: '
                            'an operator has to look'
                        ) from None
            finally:
                os.unlink(temporary)
            _sync_folder(folder)

    def size(self, key: str) -> int | None:
        with _clear_errors(self._root):
            try:
                return os.stat(self._path(key)).st_size
            except (FileNotFoundError, NotADirectoryError):
                self._check_root()
                return None

    def sha256(self, key: str) -> str:
        with self._opened(key) as file:
            (digest,) = hashed(file, 'sha256')
        return digest.hexdigest()

    def get(self, key: str, path: str) -> None:
        with self._opened(key) as source, open(path, 'wb') as out:
            shutil.copyfileobj(source, out, 1 << 20)

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        with _clear_errors(self._root):
            try:
                file = open_plain(self._path(key))
            except FileNotFoundError:
                self._check_root()
                raise Corrupt(f'the store has no object {key}') from None
            with file:
                yield file

    def url(self, key: str, seconds: int) -> str | None:
        return None

    def local_path(self, key: str) -> str | None:
        return self._path(key)

    def objects(self, prefix: str) -> Iterator[Object]:
        with _clear_errors(self._root):
            for entry in self._files(prefix):
                if entry.name.startswith(_TEMPORARY):
                    continue
                try:
                    found = entry.stat()
                except FileNotFoundError:
                    continue
                key = os.path.relpath(entry.path, self._root).replace(os.sep, '/')
                yield Object(key, found.st_size, found.st_mtime)

    def _files(self, prefix: str) -> Iterator[os.DirEntry[str]]:
        folders = [self._path(prefix)]
        while folders:
            try:
                entries = list(os.scandir(folders.pop()))
            except FileNotFoundError:
                self._check_root()
                continue
            folders += [e.path for e in entries if e.is_dir(follow_symlinks=False)]
            yield from (e for e in entries if e.is_file(follow_symlinks=False))

    def delete(self, keys: Sequence[str]) -> list[Undeleted]:
        undeleted = []
        for key in keys:
            try:
                os.unlink(self._path(key))
            except FileNotFoundError:
                self._check_root()
                continue
            except (PermissionError, IsADirectoryError) as error:
                is_denied = isinstance(error, PermissionError)
                undeleted.append(Undeleted(key, error.strerror or '', is_denied))
            except OSError as error:
                raise _failed(error, self._root) from error
        return undeleted

    def remove_abandoned(self, repository: str, before: float) -> int:
        removed = 0
        with _clear_errors(self._root):
            for entry in self._files(repository):
                with contextlib.suppress(FileNotFoundError):
                    if entry.name.startswith(_TEMPORARY) and entry.stat().st_mtime < before:
                        os.unlink(entry.path)
                        removed += 1
        return removed

    def check(self) -> None:
        self._check_root()
        with _clear_errors(self._root):
            _make_folders(self._root)
            tempfile.TemporaryFile(dir=self._root).close()


def open_plain(path: str) -> BinaryIO:
    """Open a file to read it, in a folder in which others may have put something else.

    Raise OSError for a symbolic link, which could lead to any file of this user, and for what is
    not a file.
    """
    # A named pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, 'Not a regular file', path)
    return os.fdopen(descriptor, 'rb')


def _make_folders(folder: str) -> None:
    """Do what `os.makedirs` does, and sync each new entry's parent."""
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    _make_folders(parent)
    sharing.make_folders(folder)
    _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _clear_errors(root: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failed(error, root) from error


def _failed(error: OSError, root: str) -> HeadlessError:
    return file_failed('the file store failed', error, root)
