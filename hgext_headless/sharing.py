"""Files for all who share a repository.

A site may give each person an account of its own, and the repository to a group of them. As in
Mercurial's store, what one of them makes in a folder that the group may write to is the group's
too, whatever the process's umask.
"""

from __future__ import annotations

import contextlib
import os
import stat


def share(path: str | bytes) -> None:
    """Let the group have a new file or folder, if it may write to the folder that this is in.

    Raise OSError.
    """
    folder = os.stat(os.path.dirname(path)).st_mode
    if folder & stat.S_IWGRP:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        shared = folder & stat.S_ISGID | stat.S_IRWXG if os.path.isdir(path) else 0o060
        os.chmod(path, mode | shared)


def make_folders(path: str, mode: int = 0o777) -> None:
    """Do what `os.makedirs` does, and `share` each folder that is made."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_folders(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
        share(path)


def make_file(path: str) -> None:
    """Make an empty file that its owner, and a group that shares it, may read and write.

    Do nothing if it exists. Raise OSError.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        share(path)
