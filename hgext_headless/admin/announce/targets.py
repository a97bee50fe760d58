"""Who is told of pushes: the section ``[headless-announce]``."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ... import hgcompat
from ...errors import Misconfigured

_SECTION = b'headless-announce'


class Target(NamedTuple):
    """Either ``url``, of a webhook, or ``command``, for a shell, is set.

    ``secret`` is the key of the webhook's signatures, or None.
    """

    name: str
    url: str | None
    command: str | None
    secret: bytes | None


def configured(ui: Any) -> list[Target]:
    """Return the targets, by name. Raise `Misconfigured` for an item that is none."""
    return [
        _target(ui, name)
        for name, _value in sorted(ui.configitems(_SECTION))
        if b':' not in name
    ]


def _target(ui: Any, name: bytes) -> Target:
    value, options = ui.configsuboptions(_SECTION, name)
    shown = hgcompat.escaped(name)
    unknown = sorted(set(options) - {b'secret'})
    if unknown:
        raise Misconfigured(f'headless-announce.{shown}:{hgcompat.escaped(unknown[0])} is unknown')
    if not re.fullmatch(rb'[A-Za-z0-9._-]{1,100}', name):
        raise Misconfigured(f'headless-announce.{shown}: the name may have letters, digits, ".-_"')
    text = hgcompat.to_str(value or b'').strip()
    if text.startswith('|') and text[1:].strip():
        return Target(hgcompat.to_str(name), None, text[1:].strip(), None)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as exc:
        raise Misconfigured(f'headless-announce.{shown} is not a URL: {exc}') from exc
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        raise Misconfigured(
            f'headless-announce.{shown} is neither an http or https URL nor "| COMMAND"'
        )
    return Target(hgcompat.to_str(name), text, None, options.get(b'secret') or None)
