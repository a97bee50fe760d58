"""When and how third-party packages are imported under Mercurial's demandimport."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import warnings
from collections.abc import Iterator

from mercurial import demandimport

from . import hgcompat

_loading = threading.RLock()
#: The process of `before_forks`.
_forking = 0

#: Packages that fail if demandimport defers their modules ("Set changed size during iteration").
_AT_ONCE = frozenset(
    {
        'alembic', 'boto3', 'botocore', 'parsedatetime', 'prometheus_client', 'psycopg2',
        'sqlalchemy',
    }
)  # fmt: skip


def install() -> None:
    """Let demandimport defer no module of these packages.

    Ours that import them are deferred, so that a process which needs none of them imports none.
    """
    hgcompat.never_defer(_AT_ONCE)


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """Look for no garbage during imports, nor ever in what they made: a fifth of their time.

    If nothing was imported, what is there is looked at as before: requests that have ended.
    """
    if not gc.isenabled():
        yield
        return
    modules = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:
            gc.freeze()
        gc.enable()


def before_forks() -> None:
    """Note that this process serves nobody, but forks a process for each client."""
    global _forking
    _forking = os.getpid()


def process() -> int:
    """Return a number for processes that must not share what has connections.

    It is the same for the process of `before_forks`, which has none, and its children.
    """
    return _forking if _forking in (os.getpid(), os.getppid()) else os.getpid()


def settle() -> None:
    """Load all modules that demandimport has deferred, and disable it.

    This is for web servers. If two threads use a deferred module first, one finds it half
    loaded: before Python 3.12, the standard library's lazy modules are not thread-safe.
    """
    with _loading:
        if not demandimport.isenabled():
            return
        demandimport.disable()
        seen: set[str] = set()
        with warnings.catch_warnings():  # they warn of their deprecation where they are used, too
            warnings.simplefilter('ignore')
            while new := [name for name in list(sys.modules) if name not in seen]:
                seen.update(new)
                for name in new:
                    with contextlib.suppress(Exception):  # it would fail where it is used, too
                        getattr(sys.modules[name], '__doc__', None)  # any attribute loads it
