"""Third-party packages under Mercurial's demandimport: when they are imported, and how."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from mercurial import demandimport

from .errors import Misconfigured

# What turns demandimport off and on again knows nothing of other threads.
_importing = threading.RLock()


@contextlib.contextmanager
def eager_imports() -> Iterator[None]:
    """Import at once what is imported meanwhile, by whomever.

    SQLAlchemy, Alembic and boto3 can't be imported lazily ("Set changed size
    during iteration"), and import more when they are used first. Where that
    failed hg would go on without the extension.
    """
    try:
        with _importing, demandimport.deactivated():
            yield
    except ImportError as exc:
        raise Misconfigured(f'a package is missing on the server: {exc}') from exc


def settle() -> None:
    """Load now what demandimport has put off, and put off nothing more.

    For a web server: two threads that need the same module first would find it
    half loaded, for the standard library's lazy modules know no threads before
    Python 3.12.
    """
    with _importing:
        if not demandimport.isenabled():
            return
        demandimport.disable()
        seen: set[str] = set()
        while new := [name for name in list(sys.modules) if name not in seen]:
            seen.update(new)
            for name in new:
                with contextlib.suppress(Exception):  # as it would fail where it is used
                    getattr(sys.modules[name], '__doc__', None)  # any attribute loads it


def load(name: str) -> Any:
    """Import a module of ours that imports third-party packages at its top."""
    with eager_imports():
        return importlib.import_module(name)
