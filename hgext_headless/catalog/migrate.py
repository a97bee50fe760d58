"""Creating and upgrading the schema, by the Alembic migrations of the package."""

from __future__ import annotations

import os

import alembic.command
import alembic.config
import sqlalchemy

from .. import lazy
from . import engine, schema

# Any number that no other program uses for an advisory lock.
_ADVISORY_LOCK = 0x68656164


def upgrade(database: engine.Database, expand: bool = False) -> tuple[str | None, str]:
    """Bring the schema to `schema.REVISION`; return (before, after).

    With ``expand`` only to `schema.OLDEST`: code of the version before goes on working.
    Two at once wait for each other, and for whoever is recording a push. Raises
    `Temporary`, and `Misconfigured` where the schema is newer than the code.
    """
    target = schema.OLDEST if expand else schema.REVISION
    with database.migrating() as connection:
        # SQLite's write lock is held by now.
        if connection.dialect.name == 'postgresql':
            connection.execute(
                sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_ADVISORY_LOCK))
            )
        before = engine.schema_revision(connection)
        if before is not None and before > schema.REVISION:
            engine.check_schema(connection)
            return before, before
        if before is None or before < target:
            if before is not None and connection.dialect.name == 'postgresql':
                # Whoever waits for a row of it reads after this which code may write.
                connection.exec_driver_sql('LOCK TABLE repositories IN ACCESS EXCLUSIVE MODE')
            config = alembic.config.Config()
            config.set_main_option(
                'script_location', os.path.join(os.path.dirname(__file__), 'migrations')
            )
            config.attributes['connection'] = connection
            with lazy.eager_imports():
                alembic.command.upgrade(config, target)
            return before, target
        return before, before
