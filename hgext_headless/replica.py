"""A server without `hgext_headless.push`: nothing there can take a push apart."""

from __future__ import annotations

from typing import Any

from mercurial import bundle2, error, extensions

from . import config, errors
from .errors import Refused

_PUSH = 'hgext_headless.push'


def unbundle(orig: Any, repo: Any, bundle: Any, *args: Any, **kwargs: Any) -> Any:
    """Refuse a push (`exchange.unbundle`): its drafts would land in the repository."""
    if not config.participates(repo) or _takes_pushes(repo):
        return orig(repo, bundle, *args, **kwargs)
    try:
        with errors.clear_errors():
            raise Refused(f'this server takes no pushes: {_PUSH} is not loaded')
    except error.Abort as exc:
        # So that a client of bundle2 is told in its own way.
        exc.duringunbundle2 = isinstance(bundle, bundle2.unbundle20)
        raise


def _takes_pushes(repo: Any) -> bool:
    loaded = extensions.extensions(repo.ui)
    return any(module.__name__ == _PUSH for _name, module in loaded)
