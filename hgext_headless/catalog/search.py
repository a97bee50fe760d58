"""Search pushes by words in the descriptions and authors of their changesets.

Postgres has an array of words for each changeset, and a GIN index; SQLite has a full-text
table whose ``rowid`` is the changeset's id. Neither index has the order of pushes. So words of
more than `_RARE` changesets are not looked up in it: the newest pushes are scanned instead.
The database deletes the words of a changeset with its row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import and_, func, insert, literal, select

from ..model import Changeset, Entry, Selection
from . import pushlog
from .drafts import has_prefix
from .schema import (
    changeset_words,
    changesets,
    push_changesets,
    pushes,
    sqlite_changeset_words,
    tombstones,
)
from .statements import Session, batches, beginning, insert_new, rows

#: Number of the newest pushes that are scanned first: often enough for a page.
_NEAR = 500
#: Maximum number of changesets that are taken from the index.
_RARE = 5000
#: Maximum number of changesets that name others of a page, and of bytes of each description.
_NAMING, _NAMING_TEXT = 1000, 4096
#: Number of the newest pushes that are scanned for words that more changesets have.
_FAR = 20_000
#: Number of the newest pushes whose authors and branches are searched for a part of a name, of
#: their changesets at most, and of bytes of each name.
_NAMED, _NAMED_CHANGESETS, _NAME = 5000, 50_000, 256


#: Number of bytes of a description, or of an author, that are searched.
MAX_TEXT = 16 * 1024
#: Maximum length of a word in characters: Postgres limits the size of an index entry.
_MAX_WORD = 64

WORD = re.compile(r'[^\W_]+')
#: Chinese and Japanese, which have no blanks between words.
UNSPACED = re.compile(
    '([\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)'
)
#: What is folded at a time. The time that Unicode's normalization takes is quadratic in the number
#: of combining characters that follow each other.
_PIECE = re.compile(r'\S{1,256}')
_ACCENT = re.compile('[\u0300-\u036f]')
#: Letters that have no accent in Unicode, and what those write who do not have them. Words that are
#: stored keep these letters; names are compared without.
_LETTERS = str.maketrans({'ø': 'o', 'ł': 'l', 'đ': 'd', 'æ': 'ae', 'œ': 'oe', 'ı': 'i'})


def split(text: bytes) -> list[str]:
    """Return the words of ``text``, each once, in ASCII, for a database of any encoding."""
    # Cut first: the time of normalization, and the length of its result, grow with the text.
    folded = fold(text[:MAX_TEXT].decode('utf-8', 'replace'))
    words = dict.fromkeys(word for run in WORD.findall(folded) for word in _words(run))
    return [word.encode('ascii', 'backslashreplace').decode('ascii') for word in words]


def _words(run: str) -> Iterator[str]:
    """Yield the words of letters and digits in a row; of unspaced writing, pairs of characters."""
    for number, part in enumerate(UNSPACED.split(run)):
        if number % 2:
            yield from (part[i : i + 2] for i in range(max(1, len(part) - 1)))
        elif part:
            yield part[:_MAX_WORD]


def fold(text: str) -> str:
    """Return ``text`` without accents and case."""
    return text.lower() if text.isascii() else _PIECE.sub(_folded, text)


def _fold_name(name: str) -> str:
    return fold(name).translate(_LETTERS)


def _folded(piece: re.Match[str]) -> str:
    apart = unicodedata.normalize('NFKD', piece[0]).casefold()
    return unicodedata.normalize('NFKC', _ACCENT.sub('', apart))


def terms(repository_id: int, words: Iterable[str], author: Iterable[str]) -> list[str]:
    """Return the terms for ``words``, and for words of the author: ``7:word``, ``7@word``.

    They have the repository's id, so that other repositories in the same database cost nothing.
    """
    return [f'{repository_id}:{w}' for w in words] + [f'{repository_id}@{w}' for w in author]


def of_changeset(repository_id: int, author: bytes, description: bytes) -> list[str]:
    """Return all terms by which a changeset is found."""
    names = split(author)
    return terms(repository_id, dict.fromkeys([*split(description), *names]), names)


def naming(session: Session, words: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """Return node and description, its beginning, of the changesets that have one of ``words``.

    Those that were pushed first come first. The words must be rare. Of very many changesets, return
    the oldest `_NAMING`.
    """
    ids: set[int] = set()
    for batch in batches(sorted(words)):
        ids.update(_from_index(session, terms(session.owner, batch, ()), any_of_them=True))
    place = push_changesets.c.push_id, push_changesets.c.position
    text = beginning(changesets.c.description, _NAMING_TEXT)
    query = select(changesets.c.node, text, *place).outerjoin(
        push_changesets, push_changesets.c.changeset_id == changesets.c.id
    )
    found = rows(session, query, changesets.c.id, sorted(ids)[:_NAMING])
    ordered = sorted(found, key=lambda row: (row.push_id or 0, row.position or 0))
    return [(row.node, row.description) for row in ordered]


def users(session: Session, text: str, limit: int) -> list[bytes]:
    """Return users of the newest `_FAR` pushes whose names contain ``text``, sorted."""
    wanted = _fold_name(text)
    names = session.scalars(select(_newest(session, _FAR).c.user).distinct())
    found = sorted(name for name in names if wanted in _fold_name(name.decode('utf-8', 'replace')))
    return found[:limit]


def _newest(session: Session, count: int) -> sqlalchemy.Subquery:
    """Return a subquery: id and user of the newest ``count`` pushes."""
    mine = select(pushes.c.push_id, pushes.c.user).where(session.mine(pushes))
    return mine.order_by(pushes.c.push_id.desc()).limit(count).subquery()


def part_of(text: str) -> Callable[[bytes], bool]:
    """Return a function: whether ``text`` is a part of a name that begins with a word."""
    begin = rf'(?:\b|(?<=_)|(?={UNSPACED.pattern}))'
    begins = re.compile(begin + re.escape(_fold_name(text)))
    return lambda name: begins.search(_fold_name(name.decode('utf-8', 'replace'))) is not None


def pushes_by_name(session: Session, text: str, limit: int) -> list[int]:
    """Return pushes, the newest first, with a changeset whose author or branch has ``text``.

    See `part_of`.
    """
    is_part = part_of(text)
    found: set[int] = set()
    for (author, branch), push_ids in _by_names(session).items():
        # The branch default is nearly all.
        if is_part(author) or (branch != b'default' and is_part(branch)):
            found |= push_ids
    return sorted(found, reverse=True)[:limit]


def branches(session: Session, text: str, limit: int) -> list[bytes]:
    """Return branches whose names have ``text``, sorted. See `part_of`."""
    is_part = part_of(text)
    return sorted({branch for _author, branch in _by_names(session) if is_part(branch)})[:limit]


def _by_names(session: Session) -> dict[tuple[bytes, bytes], set[int]]:
    """Return the newest `_NAMED` pushes by authors and branches of their changesets.

    The index has whole words only.
    """
    oldest = select(func.min(_newest(session, _NAMED).c.push_id)).scalar_subquery()
    place = push_changesets.c.push_id, push_changesets.c.position
    names = (
        select(
            push_changesets.c.push_id,
            beginning(changesets.c.author, _NAME),
            beginning(changesets.c.branch, _NAME),
        )
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(session.mine(push_changesets), push_changesets.c.push_id >= oldest)
        .order_by(*(column.desc() for column in place))
        .limit(_NAMED_CHANGESETS)
    )
    found: dict[tuple[bytes, bytes], set[int]] = {}
    for push_id, author, branch in session.execute(names):
        found.setdefault((author, branch), set()).add(push_id)
    return found


def pushes_with_prefix(session: Session, prefix: str, limit: int) -> list[int]:
    """Return pushes that brought a changeset whose hexadecimal node begins with ``prefix``."""
    listed = (
        select(push_changesets.c.push_id)
        .join(changesets, changesets.c.id == push_changesets.c.changeset_id)
        .where(session.mine(changesets), has_prefix(changesets.c.node, prefix))
    )
    gone = select(tombstones.c.push_id).where(
        session.mine(tombstones), has_prefix(tombstones.c.node, prefix)
    )
    return [*session.scalars(listed.limit(limit)), *session.scalars(gone.limit(limit))]


def _table(session: Session) -> tuple[Any, Any]:
    """Return the table of words, and its column with the changeset's id."""
    if session.is_postgres:
        return changeset_words, changeset_words.c.changeset_id
    return sqlite_changeset_words, sqlite_changeset_words.c.rowid


def record(session: Session, brought: Iterable[tuple[int, Changeset]]) -> None:
    """Write the words of changesets that were just inserted: pairs of id and changeset."""
    found = {i: of_changeset(session.owner, c.author, c.description) for i, c in brought}
    if session.is_postgres:
        arrays = [{'changeset_id': i, 'words': _array(each)} for i, each in found.items()]
        insert_new(session, changeset_words, arrays)
    elif found:
        session.execute(
            # A virtual table does not support ON CONFLICT.
            insert(sqlite_changeset_words).prefix_with('OR REPLACE'),
            # A blank before and after each word: see `_has_words`.
            [{'rowid': i, 'words': f' {" ".join(each)} '} for i, each in found.items()],
        )


def _array(found: Sequence[str]) -> str:
    """Return words as the text of a Postgres array."""
    elements = ','.join(found).replace('\\', r'\\')
    return f'{{{elements}}}'


def matching(session: Session, selection: Selection, limit: int) -> list[Entry]:
    """Return the newest pushes of ``selection`` that brought a changeset with all its words.

    If more than `_RARE` changesets have them, only the newest `_FAR` pushes that match
    otherwise are searched.
    """
    asked = terms(session.owner, selection.words, selection.author)
    found, is_all = _among_newest(session, selection, asked, _NEAR, limit)
    if len(found) < limit and not is_all:
        ids = _from_index(session, asked)
        if len(ids) <= _RARE:
            found = _that_brought(session, selection, ids, limit)
        else:
            found, _ = _among_newest(session, selection, asked, _FAR, limit)
    return found


def _among_newest(
    session: Session, selection: Selection, asked: Sequence[str], count: int, limit: int
) -> tuple[list[Entry], bool]:
    """Return matches among the newest ``count`` pushes that match otherwise, newest first.

    Also return whether these are all the pushes that match otherwise.
    """
    query, push_id = pushlog.selected(session, selection)
    newest = query.order_by(push_id.desc()).limit(count).subquery()
    table, changeset_id = _table(session)
    has_words = (
        select(literal(1))
        .select_from(push_changesets)
        .join(table, changeset_id == push_changesets.c.changeset_id)
        .where(
            session.mine(push_changesets),
            push_changesets.c.push_id == newest.c.push_id,
            _has_words(session, asked),
        )
        .correlate(newest)
        # With OFFSET, Postgres runs this for one push after the other, until it has enough;
        # without, it may look up all changesets with these words first.
        .offset(0)
        .exists()
    )
    found = select(newest).where(has_words).order_by(newest.c.push_id.desc()).limit(limit)
    entries = [Entry(row.push_id, row.user, row.date) for row in session.execute(found)]
    if len(entries) == limit:
        return entries, False
    looked_at = session.scalar(select(func.count()).select_from(newest)) or 0
    return entries, looked_at < count


def _has_words(session: Session, asked: Sequence[str]) -> Any:
    """Return the condition on a row of the table of words."""
    if session.is_postgres:
        return changeset_words.c.words.op('@>')(_array(asked))
    column = sqlite_changeset_words.c.words
    return and_(*(func.instr(column, f' {term} ') > 0 for term in asked))


def _from_index(session: Session, asked: Sequence[str], any_of_them: bool = False) -> list[int]:
    """Return the changesets with all terms, or with ``any_of_them``.

    If there are more than `_RARE` with all, return only some.
    """
    _table_of_words, changeset_id = _table(session)
    limit = None if any_of_them else _RARE + 1
    if not session.is_postgres:
        match = (' OR ' if any_of_them else ' AND ').join(f'"{term}"' for term in asked)
        found = sqlite_changeset_words.c.changeset_words.op('MATCH')(match)
        return list(session.scalars(select(changeset_id).where(found).limit(limit)))
    found = changeset_words.c.words.op('&&' if any_of_them else '@>')(_array(asked))
    # If each word is common by itself, or many are asked for, Postgres expects a scan to find
    # enough rows soon. What is left is a bitmap of the index on words; the other one has only ids.
    settings = 'SET LOCAL enable_seqscan = {0}; SET LOCAL enable_indexscan = {0}'
    session.connection.exec_driver_sql(settings.format('off'))
    ids = list(session.scalars(select(changeset_id).where(found).limit(limit)))
    session.connection.exec_driver_sql(settings.format('DEFAULT'))
    return ids


def _that_brought(
    session: Session, selection: Selection, ids: Sequence[int], limit: int
) -> list[Entry]:
    """Return the newest pushes that match otherwise and brought one of the changesets ``ids``."""
    query = select(push_changesets.c.push_id)
    push_ids = {row.push_id for row in rows(session, query, push_changesets.c.changeset_id, ids)}
    if selection.push_ids is not None:
        push_ids &= set(selection.push_ids)
    found: list[Entry] = []
    for batch in batches(sorted(push_ids, reverse=True)):
        chosen = selection._replace(push_ids=tuple(batch))
        found += pushlog.entries(session, chosen, newest=True, limit=limit - len(found))
        if len(found) == limit:
            break
    return found
