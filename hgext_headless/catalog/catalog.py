"""The database as the other rooms have it: sessions, and what is asked in them."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy

from ..errors import Deletions, Temporary
from ..model import Bundle, Published, Push, Recorded
from . import (
    bans,
    bookmarks,
    drafts,
    engine,
    lease,
    markers,
    names,
    notifications,
    public_log,
    pushlog,
    record,
    roots,
    search,
    tombstones,
)
from .session import Session

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    P = ParamSpec('P')
T = TypeVar('T')


class Questions(Session):
    """What the other rooms ask, which import nothing of SQLAlchemy: functions of a session."""

    known = drafts.known
    bundles_with = drafts.bundles_with
    drafts_named = names.drafts_named
    named = names.named
    bookmarks_named = bookmarks.places
    bookmarks_at = bookmarks.at
    newest_bookmarks = bookmarks.newest
    relevant_markers = markers.relevant
    markers_with = markers.exchanged_with
    obsolete = markers.obsolete
    recent_roots = roots.recent
    stacks = roots.stacks
    last_push_id = pushlog.last_push_id
    imported_push_id = pushlog.imported_push_id
    entries = pushlog.entries
    entries_with_words = search.matching
    has_branch = pushlog.has_branch
    nodes_of = pushlog.nodes_of
    sizes = pushlog.sizes
    changesets_of = pushlog.changesets_of
    changesets_from = pushlog.changesets_from
    brought = pushlog.brought
    tombstoned = pushlog.tombstoned
    needs = pushlog.needs
    public_log_state = public_log.state
    public_log_before = public_log.before
    public_log_after = public_log.after
    moved_public_bookmarks = public_log.moved_bookmarks
    tombstone = tombstones.named
    banned = bans.among
    refuse_banned = bans.refuse


class Catalog:
    """The facts about one repository. What is done in a session raises `errors.Temporary`
    where the database can't answer within its deadline, and `errors.Misconfigured`."""

    def __init__(self, database: engine.Database, repository: str) -> None:
        self._database = database
        self._repository = repository

    def memory(self, *key: str | bytes) -> dict[str, Any]:
        """What this process has learned of the repository; lost when it ends."""
        memory: dict[str, Any] = self._database.memory.setdefault((self._repository, *key), {})
        return memory

    @contextlib.contextmanager
    def reading(self) -> Iterator[Questions]:
        """A session that sees one snapshot."""
        with self._database.reading() as connection:
            yield Questions(connection, self._repository)

    def read(
        self, question: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One question, in a session of its own."""
        with self._database.reading() as connection:
            return question(Session(connection, self._repository), *args, **kwargs)

    def write(
        self, change: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A change, committed on return. On an error nothing of it has happened, unless the
        connection was lost while committing."""
        with self._database.writing() as connection:
            return change(Session(connection, self._repository), *args, **kwargs)

    def record(self, push: Push, stored_again: Deletions) -> Recorded:
        """Commit a push: after the return it is stored, whatever happens. As `record.record`.

        Where this raises, the push is not acknowledged; it may be stored all
        the same if the connection was lost while committing, and the next
        push of the same changesets then finds nothing to do.
        """
        return self.write(record.record, push, stored_again)

    def begin_public_log(self, heads: Sequence[bytes]) -> bool:
        """As `public_log.begin`, committed on return."""
        return self.write(public_log.begin, heads)

    def log_public(self, published: Published, stored_again: Deletions) -> None:
        """As `public_log.log`, committed on return."""
        self.write(public_log.log, published, int(time.time()), stored_again)

    def replace_logged(self, position: int, bundle: Bundle, stored_again: Deletions) -> None:
        """As `public_log.replace`, committed on return."""
        self.write(public_log.replace, position, bundle, int(time.time()), stored_again)

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[engine.Lock | None]:
        """A lock on something of this repository, for as long as this process lives;
        None where another process has it."""
        path = self._database.lock_file(name)
        if path is not None:
            locked = engine.file_lock(path)
        else:
            locked = lease.exclusive(self._database, f'{self._repository} {name}')
        with locked as lock:
            yield lock

    @contextlib.contextmanager
    def listening(self) -> Iterator[notifications.Wait]:
        """As `notifications.listening`."""
        with notifications.listening(self._database) as wait:
            yield wait

    def impatient(self) -> Catalog:
        """The same for what goes on without it: raises `errors.Temporary` at once where the
        database has not answered lately."""
        return Catalog(self._database.impatient, self._repository)

    def check(self) -> None:
        """That the database answers and has the right schema."""
        with self._database.reading():
            pass


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
