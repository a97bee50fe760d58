"""What an error page says beside the error: where to look further, and what goes on."""

from __future__ import annotations

from typing import Any

from .pushlog import templates


def hint(web: Any, name: bytes, **facts: Any) -> None:
    """Have the error page of a request show a fragment of ours, which knows some ``facts``."""
    web.tmpl.cache[b'pushloghint'] = templates.fragments()[name]
    web.tmpl.defaults.update({fact.encode('ascii'): value for fact, value in facts.items()})
