"""``admin::headless-restored``: push ids go on where nobody has seen any."""

from __future__ import annotations

from typing import Any

from .. import hgcompat
from ..backend import Backend
from ..catalog import epochs


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    tell(ui, backend.catalog.write(epochs.begin))
    return 0


def tell(ui: Any, epoch: epochs.Epoch) -> None:
    """Say what an operator should tell whoever keeps push ids."""
    ui.status(
        b'began epoch %s: push ids go on at %d\n'
        % (hgcompat.to_bytes(epoch.name), epoch.first_push_id)
    )
    ui.status(
        b'tell whoever keeps push ids: pushes after %d that they have seen are gone, or come again '
        b'from %d on\n' % (epoch.known_push_id, epoch.first_push_id)
    )
