"""When and how third-party packages are imported under Mercurial's demandimport."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from mercurial import demandimport

from .errors import Misconfigured

# Disabling and enabling demandimport is not thread-safe.
_importing = threading.RLock()


@contextlib.contextmanager
def eager_imports() -> Iterator[None]:
    """Import modules at once while this is active, in all threads.

    SQLAlchemy, Alembic and boto3 fail under demandimport ("Set changed size during iteration"),
    and they import more at first use. If that failed, hg would go on without the extension.
    """
    try:
        with _importing, demandimport.deactivated():
            yield
    except ImportError as exc:
        raise Misconfigured(f'a package is missing on the server: {exc}') from exc


def settle() -> None:
    """Load all modules that demandimport has deferred, and disable it.

    This is for web servers. If two threads use a deferred module first, one finds it half
    loaded: before Python 3.12, the standard library's lazy modules are not thread-safe.
    """
    with _importing:
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


def load(name: str) -> Any:
    """Import a module of this package that imports third-party packages."""
    with eager_imports():
        return importlib.import_module(name)
