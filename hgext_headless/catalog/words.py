"""The words of a changeset, for search: alike in both databases, whose parsers differ.

A word is a run of letters and digits, whatever its case. The databases are given words and
no text, so nothing that a client sends is ever parsed as a query.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

#: Bytes of a description, or of an author, that are looked at.
MAX_TEXT = 16 * 1024
#: Characters of a word that count: an index entry of Postgres is limited.
_MAX_WORD = 64

_WORD = re.compile(r'[^\W_]+')


def split(text: bytes) -> list[str]:
    """The words of a text, each once. They are ASCII, for a database of any encoding."""
    # Cut first: what is normalized can be longer, and that takes a time that grows with it.
    decoded = text[:MAX_TEXT].decode('utf-8', 'replace')
    folded = unicodedata.normalize('NFKC', decoded).casefold()
    words = dict.fromkeys(word[:_MAX_WORD] for word in _WORD.findall(folded))
    return [word.encode('ascii', 'backslashreplace').decode('ascii') for word in words]


def terms(repository_id: int, words: Iterable[str], author: Iterable[str]) -> list[str]:
    """What is looked up for words, and for words of the author: ``7:word``, ``7@word``.

    With the repository's id, so that what other repositories in the same database have
    costs nothing.
    """
    return [f'{repository_id}:{w}' for w in words] + [f'{repository_id}@{w}' for w in author]


def of_changeset(repository_id: int, author: bytes, description: bytes) -> list[str]:
    """All that a changeset is found by."""
    names = split(author)
    return terms(repository_id, dict.fromkeys([*split(description), *names]), names)
