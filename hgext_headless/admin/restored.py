"""``admin::headless-restored``: push ids go on where nobody has seen any."""

from __future__ import annotations

from typing import Any

from .. import hgcompat
from ..backend import Backend
from ..catalog import epochs
from . import options


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    above = options.push_ids('above', [opts['above']])[0]
    ui.status(news(backend.catalog.write(epochs.begin, above)))
    return 0


def news(epoch: epochs.Epoch) -> bytes:
    """Return what an operator should tell whoever keeps push ids."""
    return (
        b'began epoch %s: push ids go on at %d\n'
        b'tell whoever keeps push ids: pushes after %d that they have seen are gone, or come again '
        b'from %d on\n'
        % (
            hgcompat.to_bytes(epoch.name),
            epoch.first_push_id,
            epoch.known_push_id,
            epoch.first_push_id,
        )
    )
