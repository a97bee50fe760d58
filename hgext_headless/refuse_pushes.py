"""A server without `hgext_headless.push`, which cannot take pushes apart."""

from __future__ import annotations

from typing import Any

from mercurial import bundle2, error, extensions

from . import config, errors
from .errors import Refused

_PUSH = 'hgext_headless.push'


def unbundle(orig: Any, repo: Any, bundle: Any, heads: Any, source: bytes, url: bytes) -> Any:
    """Wrap `exchange.unbundle`: refuse a push, because its drafts would enter the repository."""
    if not config.participates(repo) or takes_pushes(repo):
        return orig(repo, bundle, heads, source, url)
    try:
        with errors.clear_errors():
            raise Refused(f'this server takes no pushes: {_PUSH} is not loaded')
    except error.Abort as exc:
        if not isinstance(bundle, bundle2.unbundle20):
            return errors.answer_bundle1(repo.ui, source, exc)
        exc.duringunbundle2 = True  # Mercurial then sends the error as a part.
        raise


def takes_pushes(repo: Any) -> bool:
    """Return whether this process takes pushes to a headless repository."""
    loaded = extensions.extensions(repo.ui)
    return any(module.__name__ == _PUSH for _name, module in loaded)
