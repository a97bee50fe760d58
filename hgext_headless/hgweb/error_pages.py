"""What an error page says in addition to the error: where to look, and what still works."""

from __future__ import annotations

from typing import Any

from .pushlog import templates


def hint(web: Any, name: bytes, **facts: Any) -> None:
    """Show the fragment ``name`` on the error page of a request. ``facts`` are its keywords."""
    web.tmpl.cache[b'pushloghint'] = templates.fragments()[name]
    web.tmpl.defaults.update({fact.encode('ascii'): value for fact, value in facts.items()})
