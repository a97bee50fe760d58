"""``hg help headless`` and ``hg help config.headless``."""
from __future__ import annotations

def install() -> None:
    pass
