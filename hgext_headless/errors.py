"""The families of errors, and how each is told: to hg, to whoever pushes or pulls, in a log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from mercurial import error

from .hgcompat import to_bytes

#: Bytes of a bundle2 part's parameter.
_LONGEST = 255


class HeadlessError(Exception):
    """An error that has one clear line for the person at the other end.

    ``kind`` is the word that scripts match.
    """

    kind = 'error'

    def line(self) -> str:
        return f'headless: {self.kind}: {self}'


class Temporary(HeadlessError):
    """Nothing is wrong with the request: the same one can succeed later."""

    kind = 'temporary'

    def line(self) -> str:
        return f'{super().line()}; try again later'


#: Deletions of objects, by key: when each was (see `catalog.schema.pending_deletions`).
Deletions = Mapping[str, int]


class Vanished(Temporary):
    """Objects were deleted after they had been found in the store."""

    def __init__(self, deletions: Deletions) -> None:
        super().__init__('an object was deleted from the store meanwhile')
        self.deletions = deletions


class Refused(HeadlessError):
    """The request is not acceptable: the same one will never succeed."""

    kind = 'refused'


class Raced(HeadlessError):
    """A bookmark is not where a push expects it: somebody else moved it. None is nowhere."""

    kind = 'temporary'

    def __init__(self, name: bytes, expected: bytes | None, found: bytes | None) -> None:
        super().__init__('a bookmark was moved meanwhile')
        self.name = name
        self.expected = expected
        self.found = found


class Corrupt(HeadlessError):
    """What is stored is not what was stored; an operator has to look."""

    kind = 'corrupt'


class Misconfigured(HeadlessError):
    """A setting, or the schema, is wrong; the text names it."""

    kind = 'misconfigured'


def _abort(exc: HeadlessError) -> error.Abort:
    line = to_bytes(exc.line())
    # It travels as a parameter of a part.
    return error.Abort(line if len(line) <= _LONGEST else line[: _LONGEST - 3] + b'...')


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Turn our errors into Mercurial's, which reach the client as one line."""
    try:
        yield
    except HeadlessError as exc:
        raise _abort(exc) from exc


@contextlib.contextmanager
def no_traceback(
    ui: Any, during: str, passing: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Like `clear_errors`; what nobody foresaw is logged and called temporary.

    Nothing is acknowledged then, so that the client keeps what it has. Errors in
    ``passing`` are left to Mercurial.
    """
    try:
        with clear_errors():
            yield
    except (error.Abort, error.PushRaced, error.BundleValueError, error.PushkeyFailed, *passing):
        raise
    except error.WdirUnsupported as exc:
        raise _abort(Refused('the working directory is no changeset')) from exc
    except Exception as exc:
        ui.log(b'headless', b'%s failed: %s\n', to_bytes(during), to_bytes(repr(exc)))
        ui.traceback()
        why = exc.strerror if isinstance(exc, OSError) else None
        raise _abort(Temporary(f'{during} failed ({why or type(exc).__name__})')) from exc
