"""Create and upgrade the schema, with the Alembic migrations of the package."""

from __future__ import annotations

import os

import alembic.command
import alembic.config
import sqlalchemy

from . import engine, schema

# Any number that no other program uses for an advisory lock.
_ADVISORY_LOCK = 0x68656164


def upgrade(database: engine.Database, expand: bool = False) -> tuple[str | None, str]:
    """Upgrade the schema to `schema.REVISION`; return the revisions before and after.

    With ``expand``, upgrade only to `schema.OLDEST`, so that code of the previous version still
    works. An upgrade waits for other upgrades, and for pushes that are being recorded. Raise
    `Temporary`, and `Misconfigured` if the schema is too new for this code.
    """
    target = schema.OLDEST if expand else schema.REVISION
    with database.migrating() as connection:
        # On SQLite, the write lock is held already.
        if connection.dialect.name == 'postgresql':
            connection.execute(
                sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_ADVISORY_LOCK))
            )
        before = engine.schema_revision(connection)
        if before is not None and not schema.FIRST <= before <= schema.REVISION:
            engine.check_schema(connection)
            return before, before
        if before is None or before < target:
            if before is not None and connection.dialect.name == 'postgresql':
                # A push that waits for a row of it reads afterwards which code may write.
                connection.exec_driver_sql('LOCK TABLE repositories IN ACCESS EXCLUSIVE MODE')
            config = alembic.config.Config()
            config.set_main_option(
                'script_location', os.path.join(os.path.dirname(__file__), 'migrations')
            )
            config.attributes['connection'] = connection
            alembic.command.upgrade(config, target)
            return before, target
        return before, before
