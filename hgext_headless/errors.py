"""The kinds of errors, and how they are reported to clients, to commands and in the log."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mercurial import error

from .hgcompat import to_bytes

#: Maximum size of a bundle2 part's parameter in bytes.
_LONGEST = 255
#: Header of an answer that is temporary; in seconds.
RETRY_AFTER = (b'Retry-After', b'10')


class HeadlessError(Exception):
    """An error with a one-line text for users.

    ``kind`` is a word that scripts match, ``status`` what a page with it has in HTTP. ``detail`` is
    what the database, the store or the system said. It may name hosts, accounts and paths: it is
    not for pages, which everybody reads.
    """

    kind = 'error'
    status = 503

    def __init__(self, text: str, detail: str = '') -> None:
        super().__init__(text)
        self.text = text
        self.detail = detail

    def __str__(self) -> str:
        return f'{self.text} ({self.detail})' if self.detail else self.text

    def line(self, on_page: bool = False) -> str:
        return f'headless: {self.kind}: {self.text if on_page else self}'


class Temporary(HeadlessError):
    """The same request can succeed later."""

    kind = 'temporary'

    def line(self, on_page: bool = False) -> str:
        return f'{super().line(on_page)}; try again later'


#: Maps the keys of deleted objects to the times of deletion: see
#: `catalog.schema.pending_deletions`.
Deletions = Mapping[str, int]


class Vanished(Temporary):
    """Objects were deleted after a push had found them; ``unfinished`` ones may be there."""

    def __init__(self, deletions: Deletions, unfinished: Sequence[str] = ()) -> None:
        super().__init__('an object was deleted from the store meanwhile')
        self.deletions = deletions
        self.unfinished = unfinished


class Refused(HeadlessError):
    """The same request will never succeed."""

    kind = 'refused'
    status = 403


class Raced(HeadlessError):
    """Another push moved a bookmark. ``expected`` and ``found`` are nodes; None is nowhere."""

    kind = 'temporary'

    def __init__(self, name: bytes, expected: bytes | None, found: bytes | None) -> None:
        super().__init__('a bookmark was moved meanwhile')
        self.name = name
        self.expected = expected
        self.found = found


class Corrupt(HeadlessError):
    """Stored data is missing or altered. An operator has to look."""

    kind = 'corrupt'


class Misconfigured(HeadlessError):
    """A setting or the schema is wrong. The text names it."""

    kind = 'misconfigured'


class Unopened(error.Abort, error.RequirementError):  # type: ignore[misc]
    """A repository is not opened, because a setting is wrong or none is in effect.

    Pushes know an `Abort`; as a `RepoError`, it leaves the repository out of hgwebdir's index.
    """


def counted(count: int, noun: str) -> str:
    """Return a number with a noun, which is in the plural unless the number is 1."""
    if noun.endswith('ry'):
        plural = f'{noun[:-1]}ies'
    else:
        plural = f'{noun}es' if noun.endswith('sh') else f'{noun}s'
    return f'{count} {noun if count == 1 else plural}'


def of_file(exc: OSError, folder: str = '') -> str:
    """Return what the system says of a file, and of which one.

    A disk that is full does not say which it is: ``folder`` is on it.
    """
    said = exc.strerror or type(exc).__name__
    where = exc.filename or (folder if exc.errno in (errno.ENOSPC, errno.EDQUOT) else '')
    return f'{os.fsdecode(where)}: {said}' if isinstance(where, (str, bytes)) and where else said


def file_failed(text: str, exc: OSError, folder: str = '') -> HeadlessError:
    """Return the error for what the system says of a file: see `of_file`.

    It is `Misconfigured` if this user has no right to the file, because waiting does not help.
    """
    is_denied = exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return (Misconfigured if is_denied else Temporary)(text, of_file(exc, folder))


@contextlib.contextmanager
def clear_errors(kind: type[error.Abort] = error.Abort, on_page: bool = False) -> Iterator[None]:
    """Convert our errors to Mercurial's, which clients see as one line."""
    try:
        yield
    except HeadlessError as exc:
        line = to_bytes(exc.line(on_page))
        # It is sent as a parameter of a bundle2 part.
        raise kind(line if len(line) <= _LONGEST else line[: _LONGEST - 3] + b'...') from exc


@contextlib.contextmanager
def no_traceback(ui: Any, during: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Do what `clear_errors` does; log an unexpected exception, and report it as temporary.

    One of a file is what `file_failed` says. Nothing is acknowledged after an exception, so the
    client keeps its drafts. Exceptions in ``passing`` are left to Mercurial.
    """
    known = (HeadlessError, error.Abort, error.PushRaced, error.BundleValueError)
    with clear_errors():
        try:
            yield
        except (*known, error.PushkeyFailed, *passing):
            raise
        except error.WdirUnsupported as exc:
            raise Refused('the working directory is not a changeset') from exc
        except Exception as exc:
            ui.log(b'headless', b'%s failed: %s\n', to_bytes(during), to_bytes(repr(exc)))
            ui.traceback()
            text = f'{during} failed: {type(exc).__name__}'
            raise (file_failed(text, exc) if isinstance(exc, OSError) else Temporary(text)) from exc
