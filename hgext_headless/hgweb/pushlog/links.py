"""What the description of a changeset names, bugs, reviewers and back-outs, and links to it.

The rules are those of ``mozautomation.commitparser`` of Mozilla's version-control-tools. The
examples in its tests are in this project's tests too. Pages (``for_people``) understand more, and
leave out what people see to be no bug and no reviewer.

An operator configures the links: ``[headless-links]`` in :hg:`help config.headless`. Values for
their fields come from pushing users, and are percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from ... import hgcompat
from ...errors import Misconfigured

SECTION = b'headless-links'

# Patterns are compiled when they are used: each hg process imports this.
_FIELD = r'\{(\w*)\}'
_GROUP = r'\\([0-9])'
_OF_PUSH = {'node', 'pushid', 'user'}
_URL = r'(https?:/)?/[^\s"\'<>]+'
#: Like an item of hgweb's ``[websub]``, with a URL instead of HTML.
_SUBSTITUTION = (
    r'(?s)s(?P<delimiter>[^\w\s\\])(?P<pattern>.+?)(?P=delimiter)(?P<url>.+)(?P=delimiter)'
    r'(?P<flags>[ims]*)'
)
#: Maximum number of links of one kind for a changeset, of characters of a description that are
#: searched, and of characters of a label.
_MOST, LOOKED_AT, _LABEL = 20, 20_000, 80

#: The URL of a bug, as on hg.mozilla.org.
BUG_URL = 'https://bugzilla.mozilla.org/show_bug.cgi?id=%s'

#: Maximum number of digits of a bug: Bugzilla's have fewer.
_DIGITS = 8

#: "bug 1", "b=1", a number of five digits or more, or one at the very beginning, as programs expect
#: that know Mozilla's parser.
_BUG = r'(?i)(?:bug|b=|(?=\b#?\d{5,})|^(?=\d))\s*#?(\d+)\b'
#: The same on pages, where each is a link. A number alone has to stand apart, and has seven digits
#: at most: ports, versions, dates, revision numbers and pull requests are no bugs.
_SHOWN_BUG = (
    r'(?i)(?:\b(?:bug|b=)\s*#?|(?<=\bshow_bug\.cgi\?id=)'
    r'|(?<![^\s(\[,;#])(?<!\w#)(?<!\bPR )(?<!\bPR #)(?<!\bports )(?<!\bport )(?<!\bport: )'
    r'(?<!\bversion )(?<!\brev )(?<!\brevision )(?=\d{5,7}(?![\w/-]|[.:]\w)))(\d+)\b'
)
#: An address, up to the number of a bug that it is of: on pages it is a link itself.
_NO_BUG = r'(?i)\bhttps?://(?:(?!\bshow_bug\.cgi\?id=\d)\S)*'
#: For changesets from GitHub, where other numbers are issues of GitHub.
_NAMED_BUG = r'(?i)(?:bug|b=)\s*(\d+)\b'
_FROM_GITHUB = r'(?m)^Source-Repo: https://github\.com/'

_NICK = r'[\w\-.]*[\w\-]+'
_SEPARATOR = r'[;,/\\]\s*'
#: A person, a blocking one with "!" behind, or a group.
_REVIEWER = rf'#?{_NICK}!?'
#: "r=one,two", also for "a", "sr", "rs" and "ui-r", and with "?".
_REVIEW = (
    r'[\s(.\[;,](r|a|sr|rs|ui-r)[=?]'
    rf'({_REVIEWER}(?:{_SEPARATOR}(?![a-z0-9.\-]+[=?]){_REVIEWER})*)'
)
#: What is for hooks of Mozilla's, and stands where a reviewer could.
_FLAG = r'\b(?:CLOSED TREE|DONTBUILD|NPOTB)\b'

_BACKED_OUT = r'(?i)(?:backed out|backout|back out)\b'
_NODE = r'([0-9a-f]{12})(?:[0-9a-f]{28})?\b'
#: Each blank can be read in one way only: in others, some dozens of them take days.
_ONE = rf'{_BACKED_OUT}\s+(?:(?:of\s+)?(?:changeset|revision|change|cset)\b\s*|of\b\s*)?{_NODE}'
_COUNTED = rf'{_BACKED_OUT}\s+\d+\s+\b(?:changesets|revisions|changes|csets|of)\b'
_LISTED = (
    rf'{_BACKED_OUT}(?=\s)(?:\s+(?:changesets|revisions|changes|csets|of)\b)?'
    rf'(?P<nodes>(?:(?:\s|and|,)+{_NODE})+)'
)
#: A bug before a back-out, on pages.
_BUG_BEFORE = r'(?i)(?:(?:no\s+bug|bug\s*#?\d+)\b\W*)?'
#: A hash on pages: it may be shorter, but is no number then, and no word.
_SHOWN_NODE = r'\b(?=[0-9a-f]{12}|[0-9]*[a-f]+[0-9]|[0-9]+[a-f])[0-9a-f]{7,40}\b'
_SHOWN_BACKED_OUT = (
    rf'{_BACKED_OUT}(?:[\s(),:#]+(?:of|the|this|hg|rev|revs|revisions?|changesets?|changes?|csets?|'
    r'commits?|bugs?|\d{1,8})\b)*'
    rf'(?P<nodes>[\s(),:#]+{_SHOWN_NODE}(?:(?:\s|and|,)+{_SHOWN_NODE})*)'
)

#: An address, without what ends a sentence, and without a bracket that was opened before it.
_ADDRESS = r'(?i)\bhttps?://(?:\([^\s()<>"]*\)|[^\s()<>"])+(?<![.,;:!?\'`\]])'


def bugs(text: str, for_people: bool = False) -> list[int]:
    """Return the numbers of the bugs that a description names, each once, in order."""
    found = _named(text, for_people)
    digits = (match[1].lstrip('0') or '0' for match in found)
    return list(dict.fromkeys(int(number) for number in digits if len(number) <= _DIGITS))


def _named(text: str, for_people: bool) -> Iterator[re.Match[str]]:
    bug = _SHOWN_BUG if for_people else _BUG
    if re.search(_FROM_GITHUB, text):
        bug = _NAMED_BUG
    if for_people:
        text = re.sub(_NO_BUG, lambda address: '/' * len(address[0]), text)
    return re.finditer(bug, text)


def reviewers(text: str, for_people: bool = False) -> list[str]:
    """Return the reviewers that the first line of a description names.

    To people, each once, and nobody who only approved (``a=``), which is often a word.
    """
    summary = text.split('\n', 1)[0]
    if for_people:
        summary = re.sub(_FLAG, '', summary)
    lists = re.findall(_REVIEW, summary)
    names = [
        name
        for kind, found in lists
        if not (for_people and kind == 'a')
        for name in re.split(_SEPARATOR, found)
    ]
    return list(dict.fromkeys(names)) if for_people else names


def backed_out(text: str, for_people: bool = False) -> list[str]:
    """Return the first 12 digits of the changesets that a description says are backed out.

    To people, there may be fewer digits.
    """
    if for_people:
        text = re.sub(_BUG_BEFORE, '', text, count=1)
        summary = text.partition('\n')[0]
        said = re.match(_SHOWN_BACKED_OUT, summary)
        if said:
            return [node[:12] for node in re.findall(_SHOWN_NODE, said['nodes'].lower())]
    summary, _newline, rest = text.partition('\n')
    if not re.match(_BACKED_OUT, summary):
        return []
    one = re.match(_ONE, summary)
    if one:
        return [one.group(1).lower()]
    if re.match(_COUNTED, summary):
        lines = rest.split('\n')
        return [found.group(1).lower() for line in lines if (found := re.match(_ONE, line))]
    listed = re.match(_LISTED, summary)
    return re.findall(_NODE, listed['nodes'].lower()) if listed else []


def hashes(text: str) -> Iterator[str]:
    """Yield what may be the hash of a changeset in a text: 12 or 40 digits."""
    found = (match[0].lower() for match in re.finditer('(?i)' + _SHOWN_NODE, text[:LOOKED_AT]))
    return (name for name in found if len(name) in (12, 40))


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
            for number in bugs(text[:LOOKED_AT], for_people=True)[:_MOST]
        ]

    def reviewers(self, text: str) -> list[Link]:
        """Return links to the reviewers that a description names.

        A group is no person: its name has a link if one of the patterns is for all of it.
        """
        names = reviewers(text[:LOOKED_AT], for_people=True)
        return [Link(name, self._of_reviewer(name)) for name in names[:_MOST]]

    def _of_reviewer(self, name: str) -> str | None:
        name = name.rstrip('!')
        if name.startswith('#'):
            wholes = ((pattern.fullmatch(name), url) for pattern, url in self.patterns)
            return next((_expanded(url, match) for match, url in wholes if match), None)
        return self.reviewer and _filled(self.reviewer, {'reviewer': name})

    def matches(self, text: str) -> list[Link]:
        """Return links for what the patterns find in a description, each once."""
        found = dict.fromkeys(link for _span, link in self._spans(text[:LOOKED_AT]))
        return list(found)[:_MOST]

    def linked(self, text: str, changesets: Mapping[str, str] = {}) -> Iterator[Link]:
        """Yield all of ``text`` in pieces, those with a URL where it names something or matches.

        ``changesets`` are the URLs of changesets, by their hashes or the first 12 digits.
        """
        text, start = text[:LOOKED_AT], 0
        urls = {link.label: link.url for link in self.bugs(text)}
        named = _named(text, for_people=True)
        found = [(match.span(), urls.get(match[1].lstrip('0')) or '') for match in named]
        found += [(span, link.url or '') for span, link in self._spans(text)]
        found += [(match.span(), match[0]) for match in re.finditer(_ADDRESS, text)]
        for match in re.finditer('(?i)' + _SHOWN_NODE, text) if changesets else ():
            name = match[0].lower()
            found.append((match.span(), changesets.get(name) or changesets.get(name[:12], '')))
        for (begin, end), url in sorted(found):
            if url and start <= begin < end:
                yield Link(text[start:begin], None)
                yield Link(text[begin:end], url)
                start = end
        yield Link(text[start:], None)

    def _spans(self, text: str) -> Iterator[tuple[tuple[int, int], Link]]:
        for pattern, url in self.patterns:
            for match in pattern.finditer(text):
                yield match.span(), Link(match[0][:_LABEL], _expanded(url, match))

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
        substitution = re.fullmatch(_SUBSTITUTION, url)
        if substitution is not None:
            patterns.append(_pattern(name, substitution))
            continue
        _check_url(name, url)
        fields = set(re.findall(_FIELD, url))
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
    if any(int(group) > pattern.groups for group in re.findall(_GROUP, url)):
        raise _wrong(name, f'names a group that "{substitution["pattern"]}" does not have')
    return pattern, url


def _check_url(name: str, url: str) -> None:
    if not re.fullmatch(_URL, url):
        raise _wrong(name, 'has no URL that begins with http://, https:// or / and has no blanks')


def _expanded(url: str, match: re.Match[str]) -> str:
    return re.sub(_GROUP, lambda group: quote(match[int(group[1])] or ''), url)


def _filled(url: str, values: Mapping[str, object]) -> str:
    return re.sub(_FIELD, lambda field: quote(str(values[field[1]]), safe=''), url)


def _wrong(name: str, why: str) -> Misconfigured:
    return Misconfigured(f'{hgcompat.to_str(SECTION)}.{name} {why}')
