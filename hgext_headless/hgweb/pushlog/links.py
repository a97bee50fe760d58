"""Links that an operator configures: ``[headless-links]`` in :hg:`help config.headless`.

Values for their fields come from pushing users, and are percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from ... import hgcompat
from ...errors import Misconfigured
from . import description

SECTION = b'headless-links'

_FIELD = re.compile(r'\{(\w*)\}')
_GROUP = re.compile(r'\\([0-9])')
_OF_PUSH = {'node', 'pushid', 'user'}
_URL = re.compile(r'(https?:/)?/[^\s"\'<>]+')
#: Like an item of hgweb's ``[websub]``, with a URL instead of HTML.
_SUBSTITUTION = re.compile(
    r's(?P<delimiter>[^\w\s\\])(?P<pattern>.+?)(?P=delimiter)(?P<url>.+)(?P=delimiter)'
    r'(?P<flags>[ims]*)',
    re.DOTALL,
)
#: Maximum number of links of one kind for a changeset, of characters of a description that are
#: searched, and of characters of a label.
_MOST, _LOOKED_AT, _LABEL = 20, 20_000, 80


class Link(NamedTuple):
    """A link with its text. ``url`` is None if none is configured."""

    label: str
    url: str | None


@dataclass(frozen=True)
class Links:
    """The configured URLs, with their fields.

    ``bug`` and ``reviewer`` are the URLs for one bug and one reviewer. ``pushes`` are pairs of
    name and URL for a push. ``patterns`` are patterns for descriptions, each with its URL.
    """

    bug: str | None
    reviewer: str | None
    pushes: tuple[tuple[str, str], ...]
    patterns: tuple[tuple[re.Pattern[str], str], ...]

    @property
    def need_node(self) -> bool:
        """Whether links of a push need its last changeset."""
        return any('{node}' in url for _name, url in self.pushes)

    def bugs(self, text: str) -> list[Link]:
        """Return links to the bugs that a description names."""
        return [
            Link(str(number), self.bug and _filled(self.bug, {'bug': number}))
            for number in description.bugs(text[:_LOOKED_AT])[:_MOST]
        ]

    def reviewers(self, text: str) -> list[Link]:
        """Return links to the reviewers that a description names."""
        return [
            Link(name, self.reviewer and _filled(self.reviewer, {'reviewer': name}))
            for name in description.reviewers(text[:_LOOKED_AT])[:_MOST]
        ]

    def matches(self, text: str) -> list[Link]:
        """Return links for what the patterns find in a description, each once."""
        found = dict.fromkeys(self._matches(text[:_LOOKED_AT]))
        return list(found)[:_MOST]

    def _matches(self, text: str) -> Iterator[Link]:
        for pattern, url in self.patterns:
            for match in pattern.finditer(text):
                yield Link(match[0][:_LABEL], _expanded(url, match))

    def of_push(self, push_id: int, user: str, node: str) -> list[Link]:
        """Return the links of a push; ``node`` is its last changeset, empty if it is unknown."""
        values = {'pushid': push_id, 'user': user, 'node': node}
        return [
            Link(name, _filled(url, values))
            for name, url in self.pushes
            if node or '{node}' not in url
        ]


def configured(ui: Any) -> Links:
    """Return the configured links. Raise `Misconfigured`, naming the wrong item."""
    found: dict[str, str] = {}
    pushes, patterns = [], []
    for item, value in ui.configitems(SECTION):
        name, url = hgcompat.to_str(item), hgcompat.to_str(value).strip()
        if not url:
            continue
        substitution = _SUBSTITUTION.fullmatch(url)
        if substitution is not None:
            patterns.append(_pattern(name, substitution))
            continue
        _check_url(name, url)
        fields = set(_FIELD.findall(url))
        if fields == {'bug'} or fields == {'reviewer'}:
            found[fields.pop()] = url
        elif fields <= _OF_PUSH:
            pushes.append((name, url))
        else:
            raise _wrong(
                name, 'may name {bug}, or {reviewer}, or some of {node}, {pushid} and {user}'
            )
    return Links(found.get('bug'), found.get('reviewer'), tuple(pushes), tuple(patterns))


def _pattern(name: str, substitution: re.Match[str]) -> tuple[re.Pattern[str], str]:
    flags = re.RegexFlag(0)
    for letter in substitution['flags']:
        flags |= re.RegexFlag[letter.upper()]
    try:
        pattern = re.compile(substitution['pattern'], flags)
    except re.error as exc:
        raise _wrong(name, f'has no regular expression: {exc}') from exc
    url = substitution['url']
    _check_url(name, url)
    if any(int(group) > pattern.groups for group in _GROUP.findall(url)):
        raise _wrong(name, f'names a group that "{substitution["pattern"]}" does not have')
    return pattern, url


def _check_url(name: str, url: str) -> None:
    if not _URL.fullmatch(url):
        raise _wrong(name, 'has no URL that begins with http://, https:// or / and has no blanks')


def _expanded(url: str, match: re.Match[str]) -> str:
    return _GROUP.sub(lambda group: quote(match[int(group[1])] or ''), url)


def _filled(url: str, values: Mapping[str, object]) -> str:
    return _FIELD.sub(lambda field: quote(str(values[field[1]]), safe=''), url)


def _wrong(name: str, why: str) -> Misconfigured:
    return Misconfigured(f'{hgcompat.to_str(SECTION)}.{name} {why}')
