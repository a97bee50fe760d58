"""What Mozilla's tools read from a changeset's description: bugs, reviewers, back-outs.

The rules are those of ``mozautomation.commitparser`` of Mozilla's version-control-tools. The
examples in its tests are in this project's tests too.
"""

from __future__ import annotations

import re

#: The URL of a bug, as on hg.mozilla.org.
BUG_URL = 'https://bugzilla.mozilla.org/show_bug.cgi?id=%s'

#: Maximum number of digits of a bug: Bugzilla's have fewer.
_DIGITS = 8

#: "bug 1", "b=1", a number of five digits or more, or one at the very beginning.
_BUG = re.compile(r'(?:bug|b=|(?=\b#?\d{5,})|^(?=\d))\s*#?(\d+)\b', re.I)
#: The same for changesets from GitHub, where other numbers are issues of GitHub.
_NAMED_BUG = re.compile(r'(?:bug|b=)\s*(\d+)\b', re.I)
_FROM_GITHUB = re.compile(r'^Source-Repo: https://github\.com/', re.M)

_NICK = r'[a-zA-Z0-9\-_.]*[a-zA-Z0-9\-_]+'
_SEPARATOR = r'[;,/\\]\s*'
#: "r=one,two", also for "a", "sr", "rs" and "ui-r", and with "?".
_REVIEW = re.compile(
    rf'[\s(.\[;,](?:r|a|sr|rs|ui-r)[=?]({_NICK}(?:{_SEPARATOR}(?![a-z0-9.\-]+[=?]){_NICK})*)'
)

_BACKED_OUT = r'(?:backed out|backout|back out)\b'
_NODE = r'[0-9a-f]{12}\b'
_IS_BACKOUT = re.compile(_BACKED_OUT, re.I)
_ONE = re.compile(
    rf'{_BACKED_OUT}\s+(?:\b(?:changeset|revision|change|cset|of)\b)?\s*({_NODE})', re.I
)
_COUNTED = re.compile(rf'{_BACKED_OUT}\s+\d+\s+\b(?:changesets|revisions|changes|csets|of)\b', re.I)
_LISTED = re.compile(
    rf'{_BACKED_OUT}\s+(?:\b(?:changesets|revisions|changes|csets|of)\b)?\s*'
    rf'((?:(?:\s+|and|,)+{_NODE})+)',
    re.I,
)


def bugs(text: str) -> list[int]:
    """Return the numbers of the bugs that a description names, each once, in order."""
    found = (_NAMED_BUG if _FROM_GITHUB.search(text) else _BUG).findall(text)
    digits = (number.lstrip('0') or '0' for number in found)
    return list(dict.fromkeys(int(number) for number in digits if len(number) <= _DIGITS))


def reviewers(text: str) -> list[str]:
    """Return the reviewers that the first line of a description names."""
    summary = text.split('\n', 1)[0]
    return [name for found in _REVIEW.findall(summary) for name in re.split(_SEPARATOR, found)]


def backed_out(text: str) -> list[str]:
    """Return the first 12 digits of the changesets that a description says are backed out."""
    summary, _newline, rest = text.partition('\n')
    if not _IS_BACKOUT.match(summary):
        return []
    one = _ONE.match(summary)
    if one:
        return [one.group(1)]
    if _COUNTED.match(summary):
        return [found.group(1) for line in rest.split('\n') if (found := _ONE.match(line))]
    listed = _LISTED.match(summary)
    return re.findall(_NODE, listed.group(1), re.I) if listed else []
