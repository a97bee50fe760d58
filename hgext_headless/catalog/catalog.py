"""The database as other packages use it: sessions, and queries in them."""

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
    usage,
)
from .session import Session

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    P = ParamSpec('P')
T = TypeVar('T')


class Questions(Session):
    """Queries of the packages that import nothing of SQLAlchemy: functions of a session."""

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
    pushed_since = usage.pushed_since
    live_drafts = usage.live_drafts
    tombstone = tombstones.named
    banned = bans.among
    refuse_banned = bans.refuse


class Catalog:
    """The facts about one repository.

    Sessions raise `errors.Temporary` if the database does not answer within its deadline, and
    `errors.Misconfigured`.
    """

    def __init__(self, database: engine.Database, repository: str) -> None:
        self._database = database
        self._repository = repository

    def memory(self, *key: str | bytes) -> dict[str, Any]:
        """Return a dictionary of facts about the repository, kept until this process ends."""
        memory: dict[str, Any] = self._database.memory.setdefault((self._repository, *key), {})
        return memory

    @contextlib.contextmanager
    def reading(self) -> Iterator[Questions]:
        """Open a session that sees one snapshot."""
        with self._database.reading() as connection:
            yield Questions(connection, self._repository)

    def read(
        self, question: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of one query, in a session of its own."""
        with self._database.reading() as connection:
            return question(Session(connection, self._repository), *args, **kwargs)

    def write(
        self, change: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Make a change, committed on return; return its result.

        After an error nothing is changed, unless the connection was lost during the commit.
        """
        with self._database.writing() as connection:
            return change(Session(connection, self._repository), *args, **kwargs)

    def record(self, push: Push, stored_again: Deletions) -> Recorded:
        """Do what `record.record` does, committed on return: then the push is stored.

        If this raises, the push is not acknowledged. If the connection was lost during the
        commit, it may be stored nevertheless; then the next push of the same changesets has
        nothing to do.
        """
        return self.write(record.record, push, stored_again)

    def begin_public_log(self, heads: Sequence[bytes]) -> bool:
        """Do what `public_log.begin` does, committed on return."""
        return self.write(public_log.begin, heads)

    def log_public(self, published: Published, stored_again: Deletions) -> None:
        """Do what `public_log.log` does, committed on return."""
        self.write(public_log.log, published, int(time.time()), stored_again)

    def replace_logged(self, position: int, bundle: Bundle, stored_again: Deletions) -> None:
        """Do what `public_log.replace` does, committed on return."""
        self.write(public_log.replace, position, bundle, int(time.time()), stored_again)

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[engine.Lock | None]:
        """Yield a lock on ``name`` in this repository; None if another process has it.

        The lock ends with this process at the latest.
        """
        path = self._database.lock_file(name)
        if path is not None:
            locked = engine.file_lock(path)
        else:
            locked = lease.exclusive(self._database, f'{self._repository} {name}')
        with locked as lock:
            yield lock

    @contextlib.contextmanager
    def listening(self) -> Iterator[notifications.Wait]:
        """Do what `notifications.listening` does."""
        with notifications.listening(self._database) as wait:
            yield wait

    def impatient(self) -> Catalog:
        """Return the same catalog, for callers for whom it is optional.

        It raises `errors.Temporary` at once if the database has not answered lately.
        """
        return Catalog(self._database.impatient, self._repository)

    def check(self) -> None:
        """Check that the database answers and has the right schema."""
        with self._database.reading():
            pass


def open_catalog(
    url: str,
    repository: str,
    embedded_home: str | None = None,
    options: engine.Options | None = None,
) -> Catalog:
    """Return the catalog at a SQLAlchemy URL.

    With ``embedded_home``, make this folder, and an SQLite database on first use. Otherwise
    open nothing yet.
    """
    database = engine.open_database(url, options or engine.DEFAULT_OPTIONS)
    catalog = Catalog(database, repository)
    if embedded_home is not None:
        make_home(embedded_home)
        try:
            catalog.check()
        except engine.NoSchema:
            # Importing Alembic takes longer than everything else.
            importlib.import_module('hgext_headless.catalog.migrate').upgrade(database)
    return catalog


def is_made(url: str) -> bool:
    """Return False if ``url`` is that of an SQLite database whose file does not exist.

    Opening it would create it.
    """
    parsed = sqlalchemy.make_url(url)
    return parsed.get_backend_name() != 'sqlite' or os.path.exists(parsed.database or '')


def make_home(folder: str) -> None:
    """Make the folder of the embedded database. Raise `errors.Temporary`."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        raise Temporary(f'the embedded database cannot be made: {error.strerror}') from error
