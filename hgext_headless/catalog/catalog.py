"""What the other rooms ask of the database, each question one transaction."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy

from ..errors import Deletions, Temporary
from ..model import (
    Brought,
    Bundle,
    Changeset,
    Drafts,
    Entry,
    Needs,
    Parents,
    Push,
    Recorded,
    Selection,
    Tombstone,
)
from . import (
    bans,
    bookmarks,
    drafts,
    engine,
    lease,
    markers,
    pushlog,
    record,
    roots,
    tombstones,
)

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    P = ParamSpec('P')
T = TypeVar('T')

_WHOLE = re.compile(rb'[0-9a-f]{40}\Z')


class Catalog:
    """The facts about one repository. Every method raises `errors.Temporary` where
    the database can't answer within its deadline, and `errors.Misconfigured`."""

    def __init__(self, database: engine.Database, repository: str) -> None:
        self._database = database
        self._repository = repository

    def memory(self, *key: str | bytes) -> dict[str, Any]:
        """What this process has learned of the repository; lost when it ends."""
        memory: dict[str, Any] = self._database.memory.setdefault((self._repository, *key), {})
        return memory

    def read(
        self,
        question: Callable[Concatenate[sqlalchemy.Connection, str, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """A question of an operator's command: a function of this room, in one transaction."""
        with self._database.reading() as connection:
            return question(connection, self._repository, *args, **kwargs)

    def write(
        self,
        change: Callable[Concatenate[sqlalchemy.Connection, str, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """A change by an operator's command, committed on return. On an error nothing
        of it has happened, unless the connection was lost while committing."""
        with self._database.writing() as connection:
            return change(connection, self._repository, *args, **kwargs)

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[engine.Lock | None]:
        """A lock on something of this repository, for as long as this process lives;
        None where another process has it."""
        path = self._database.lock_file()
        if path is not None:
            locked = engine.file_lock(path)
        else:
            locked = lease.exclusive(self._database, f'{self._repository} {name}')
        with locked as lock:
            yield lock

    def impatient(self) -> Catalog:
        """The same for what goes on without it: raises `errors.Temporary` at once where the
        database has not answered lately."""
        return Catalog(self._database.impatient, self._repository)

    def check(self) -> None:
        """That the database answers and has the right schema."""
        with self._database.reading():
            pass

    def refuse_forgotten(self, nodes: Iterable[bytes]) -> None:
        """As `check`; raises `errors.Refused` where a changeset was removed for good."""
        with self._database.reading() as connection:
            bans.refuse(connection, self._repository, nodes)

    def known(self, nodes: Iterable[bytes]) -> set[bytes]:
        with self._database.reading() as connection:
            return drafts.known(connection, self._repository, nodes)

    def named(self, name: bytes) -> tuple[bytes, ...]:
        with self._database.reading() as connection:
            return bookmarks.named(connection, self._repository, name)

    def bookmarks(self, names: Iterable[bytes]) -> dict[bytes, bytes]:
        with self._database.reading() as connection:
            return bookmarks.places(connection, self._repository, names)

    def bookmarks_at(self, nodes: Iterable[bytes]) -> dict[bytes, bytes]:
        with self._database.reading() as connection:
            return bookmarks.at(connection, self._repository, nodes)

    def newest_bookmarks(self, limit: int) -> dict[bytes, bytes]:
        with self._database.reading() as connection:
            return bookmarks.newest(connection, self._repository, limit)

    def relevant_markers(self, nodes: Iterable[bytes]) -> list[bytes]:
        with self._database.reading() as connection:
            return markers.relevant(connection, self._repository, nodes)

    def obsolete(self, nodes: Iterable[bytes]) -> set[bytes]:
        with self._database.reading() as connection:
            return markers.obsolete(connection, self._repository, nodes)

    def markers_with(self, nodes: Iterable[bytes]) -> list[bytes]:
        with self._database.reading() as connection:
            return markers.exchanged_with(connection, self._repository, nodes)

    def drafts(self, names: Collection[bytes]) -> Drafts:
        """All that the page of a draft needs; of pushes not the ends."""
        with self._database.reading() as connection:
            whole = {name: bytes.fromhex(name.decode()) for name in names if _WHOLE.match(name)}
            nodes = {
                name: bookmarks.named(connection, self._repository, name)
                for name in names
                if name not in whole
            }
            single = {found[0] for found in nodes.values() if len(found) == 1}
            single.update(whole.values())
            bundles = drafts.bundles_holding(connection, self._repository, single)
            for name, node in whole.items():
                nodes[name] = (node,) if node in bundles else ()
            brought = pushlog.brought(connection, self._repository, bundles, with_ends=False)
            nameless = [name for name, found in nodes.items() if not found]
            expired = pushlog.expired(connection, self._repository, nameless)
            return Drafts(nodes, bundles, brought, expired)

    def bundles_with(self, nodes: Iterable[bytes]) -> dict[bytes, Bundle]:
        with self._database.reading() as connection:
            return drafts.bundles_with(connection, self._repository, nodes)

    def recent_roots(self, limit: int) -> list[Parents]:
        with self._database.reading() as connection:
            return roots.recent(connection, self._repository, limit)

    def stacks(self, nodes: Iterable[bytes]) -> list[Parents]:
        with self._database.reading() as connection:
            return roots.stacks(connection, self._repository, nodes)

    def last_push_id(self) -> int:
        with self._database.reading() as connection:
            return pushlog.last_push_id(connection, self._repository)

    def imported_push_id(self) -> int:
        with self._database.reading() as connection:
            return pushlog.imported_push_id(connection, self._repository)

    def entries(
        self, selection: Selection, newest: bool, limit: int | None, offset: int = 0
    ) -> list[Entry]:
        with self._database.reading() as connection:
            return pushlog.entries(
                connection, self._repository, selection, newest, limit, offset
            )

    def has_branch(self, branch: bytes) -> bool:
        with self._database.reading() as connection:
            return pushlog.has_branch(connection, self._repository, branch)

    def nodes_of(
        self, push_ids: Sequence[int], tips_only: bool = False
    ) -> dict[int, list[tuple[bytes, dict[bytes, bytes]]]]:
        with self._database.reading() as connection:
            return pushlog.nodes_of(connection, self._repository, push_ids, tips_only)

    def changesets_of(
        self, push_ids: Sequence[int], tips_only: bool = False
    ) -> dict[int, list[Changeset]]:
        with self._database.reading() as connection:
            return pushlog.changesets_of(connection, self._repository, push_ids, tips_only)

    def brought(self, nodes: Iterable[bytes], with_ends: bool = True) -> dict[bytes, Brought]:
        with self._database.reading() as connection:
            return pushlog.brought(connection, self._repository, nodes, with_ends)

    def tombstoned(self, nodes: Iterable[bytes]) -> dict[bytes, int]:
        with self._database.reading() as connection:
            return pushlog.tombstoned(connection, self._repository, nodes)

    def tombstone(self, name: bytes) -> Tombstone | None:
        with self._database.reading() as connection:
            return tombstones.named(connection, self._repository, name)

    def removed(self, nodes: Iterable[bytes]) -> set[bytes]:
        with self._database.reading() as connection:
            return bans.among(connection, self._repository, nodes)

    def needs(self, push_ids: Sequence[int]) -> list[Needs]:
        with self._database.reading() as connection:
            return pushlog.needs(connection, self._repository, push_ids)

    def record(self, push: Push, stored_again: Deletions) -> Recorded:
        """Commit a push: after the return it is stored, whatever happens.

        Raises `errors.Vanished` where objects of it were deleted since they were
        stored, but for the deletions in ``stored_again``; `errors.Raced` where a bookmark
        was moved meanwhile, and `errors.Refused` where one names no stored draft.

        Where this raises, the push is not acknowledged; it may be stored all
        the same if the connection was lost while committing, and the next
        push of the same changesets then finds nothing to do.
        """
        with self._database.writing() as connection:
            return record.record(connection, self._repository, push, stored_again)


def open_catalog(
    url: str,
    repository: str,
    embedded_home: str | None = None,
    options: engine.Options | None = None,
) -> Catalog:
    """The catalog at a SQLAlchemy URL.

    With ``embedded_home`` the SQLite database is made there on first use;
    otherwise nothing is opened yet.
    """
    database = engine.open_database(url, options or engine.DEFAULT_OPTIONS)
    catalog = Catalog(database, repository)
    if embedded_home is not None:
        make_home(embedded_home)
        try:
            catalog.check()
        except engine.NoSchema:
            # Alembic takes longer to import than all the rest.
            importlib.import_module('hgext_headless.catalog.migrate').upgrade(database)
    return catalog


def is_made(url: str) -> bool:
    """False where it is an SQLite database whose file is not there: to open it is to make it."""
    parsed = sqlalchemy.make_url(url)
    return parsed.get_backend_name() != 'sqlite' or os.path.exists(parsed.database or '')


def make_home(folder: str) -> None:
    """Make the folder of the embedded database. Raises `errors.Temporary`."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        raise Temporary(f'the embedded database cannot be made: {error.strerror}') from error
