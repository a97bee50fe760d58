"""Creating and upgrading the schema, by the Alembic migrations of the package."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

import alembic.command
import alembic.config
import sqlalchemy

from . import engine, schema

# Any number that no other program uses for an advisory lock.
_ADVISORY_LOCK = 0x68656164


def upgrade(database: engine.Database) -> tuple[str | None, str]:
    """Bring the schema to `schema.REVISION`; return (before, after).

    Two at once wait for each other. Raises `Temporary`, and `Misconfigured`
    where the schema is newer than the code.
    """
    with database.migrating() as connection:
        if connection.dialect.name == 'postgresql':
            connection.execute(
                sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_ADVISORY_LOCK))
            )
        before = engine.schema_revision(connection)
        if before is not None and before > schema.REVISION:
            engine.check_schema(connection)
        if before != schema.REVISION:
            config = alembic.config.Config()
            config.set_main_option(
                'script_location', os.path.join(os.path.dirname(__file__), 'migrations')
            )
            config.attributes['connection'] = connection
            alembic.command.upgrade(config, schema.REVISION)
        return before, schema.REVISION


def make_embedded(database: engine.Database, home: str) -> None:
    """Make the embedded database in the folder ``home`` on its first use."""
    os.makedirs(home, mode=0o700, exist_ok=True)
    with _locked(os.path.join(home, 'init.lock')):
        upgrade(database)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
