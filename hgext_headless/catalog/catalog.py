"""The database as other packages use it: sessions, and queries in them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import sqlalchemy
from typing_extensions import Concatenate, ParamSpec

from .. import sharing
from ..errors import file_failed
from . import coordination, engine, epochs, migrate
from .statements import Session

P = ParamSpec('P')
T = TypeVar('T')


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
        return self._database.memory.setdefault((self._repository, *key), {})

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that sees one snapshot. The functions of this package take it."""
        with self._database.reading() as connection:
            yield Session(connection, self._repository)

    def read(
        self, question: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of one query, in a session of its own."""
        with self.reading() as session:
            return question(session, *args, **kwargs)

    def write(
        self, change: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Make a change, committed on return; return its result.

        After an error nothing is changed, unless the connection was lost during the commit.
        """
        with self.writing() as session:
            return change(session, *args, **kwargs)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a session that is committed at the end, or rolled back on an error."""
        with self._database.writing() as connection:
            yield Session(connection, self._repository)

    def exclusive(self, name: str) -> AbstractContextManager[coordination.Lock | None]:
        """Do what `coordination.exclusive` does, for ``name`` in this repository."""
        return coordination.exclusive(self._database, f'{self._repository} {name}')

    def listening(self) -> AbstractContextManager[coordination.Wait]:
        """Do what `coordination.listening` does."""
        return coordination.listening(self._database)

    def for_pages(self) -> Catalog:
        """Return the same for readers that leave connections to pushes."""
        return Catalog(self._database.for_pages, self._repository)

    def fail_fast(self) -> Catalog:
        """Return the same for callers for whom it is optional: see `Database.fail_fast`."""
        return Catalog(self._database.fail_fast, self._repository)

    def disconnect(self) -> None:
        """Close the connections that are not in use. New ones are made when they are needed."""
        self._database.disconnect()

    def check(self) -> None:
        """Check that the database answers and has the right schema."""
        with self._database.reading():
            pass


def open_catalog(
    url: str, repository: str, embedded_home: str | None, options: engine.Options
) -> Catalog:
    """Return the catalog at a SQLAlchemy URL.

    With ``embedded_home``, make this folder, and an SQLite database on first use. Otherwise
    open nothing yet.
    """
    database = engine.open_database(url, options)
    catalog = Catalog(database, repository)
    if embedded_home is not None:
        make_home(embedded_home)
        try:
            catalog.check()
        except engine.NoSchema:
            migrate.upgrade(database)
            catalog.write(epochs.make)
    return catalog


def is_made(url: str) -> bool:
    """Return False if ``url`` is that of an SQLite database whose file does not exist.

    Opening it would create it.
    """
    parsed = sqlalchemy.make_url(url)
    return parsed.get_backend_name() != 'sqlite' or os.path.exists(parsed.database or '')


def make_home(folder: str) -> None:
    """Make the folder of the embedded database. Raise as `errors.file_failed` says."""
    try:
        sharing.make_folders(folder, 0o700)
    except OSError as error:
        raise file_failed('the embedded database cannot be made', error) from error
