"""The words of a changeset, for search.

They are the same in both databases, whose own parsers differ. A word is a run of letters and
digits; case is ignored. The databases get words, not text, so that nothing that a client sends
is parsed as a query.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

#: Number of bytes of a description, or of an author, that are searched.
MAX_TEXT = 16 * 1024
#: Maximum length of a word in characters: Postgres limits the size of an index entry.
_MAX_WORD = 64

_WORD = re.compile(r'[^\W_]+')


def split(text: bytes) -> list[str]:
    """Return the words of ``text``, each once, in ASCII, for a database of any encoding."""
    # Cut first: the time of normalization, and the length of its result, grow with the text.
    decoded = text[:MAX_TEXT].decode('utf-8', 'replace')
    folded = unicodedata.normalize('NFKC', decoded).casefold()
    words = dict.fromkeys(word[:_MAX_WORD] for word in _WORD.findall(folded))
    return [word.encode('ascii', 'backslashreplace').decode('ascii') for word in words]


def terms(repository_id: int, words: Iterable[str], author: Iterable[str]) -> list[str]:
    """Return the terms for ``words``, and for words of the author: ``7:word``, ``7@word``.

    They have the repository's id, so that other repositories in the same database cost nothing.
    """
    return [f'{repository_id}:{w}' for w in words] + [f'{repository_id}@{w}' for w in author]


def of_changeset(repository_id: int, author: bytes, description: bytes) -> list[str]:
    """Return all terms by which a changeset is found."""
    names = split(author)
    return terms(repository_id, dict.fromkeys([*split(description), *names]), names)
