"""What both extensions do to Mercurial. It is done once if both are loaded."""

from __future__ import annotations

from typing import Any

from mercurial import localrepo, wireprotoserver, wireprotov1server

from . import hgcompat, manual, requirement
from .wire import discovery


def setup_features(ui: Any, features: set[bytes]) -> None:
    """Make the requirement known to Mercurial: the ``featuresetup`` function of an extension.

    Mercurial calls it for each extension that is enabled for a repository.
    """
    features.add(requirement.NAME)


def install() -> None:
    requirement.install()
    manual.install()
    hgcompat.wrap_once(localrepo.localpeer, 'local', discovery.peer_local)
    hgcompat.wrap_once(localrepo.localpeer, 'listkeys', discovery.peer_list_keys)
    hgcompat.wrap_once(wireprotov1server.commands[b'listkeys'], 'func', discovery.list_keys)
    hgcompat.wrap_once(wireprotoserver, 'handlewsgirequest', hgcompat.note_base)
