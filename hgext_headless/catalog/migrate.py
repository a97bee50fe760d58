"""Create the schema, and upgrade it with the Alembic migrations of the package."""

from __future__ import annotations

import os

import sqlalchemy
from sqlalchemy import exc

from ..errors import Misconfigured
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
        is_postgres = connection.dialect.name == 'postgresql'
        if is_postgres:
            connection.execute(
                sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_ADVISORY_LOCK))
            )
        before = engine.schema_revision(connection)
        if before is None:
            _create(connection)
            return None, schema.REVISION
        if not schema.FIRST <= before <= schema.REVISION:
            engine.check_schema(connection)
            return before, before
        if before >= target:
            return before, before
        if is_postgres:
            # A push that waits for a row of it reads afterwards which code may write.
            connection.exec_driver_sql('LOCK TABLE repositories IN ACCESS EXCLUSIVE MODE')
        _migrate(connection, target)
        return before, target


def _create(connection: sqlalchemy.Connection) -> None:
    """Create the schema as it is now, in an empty database."""
    schema.metadata.create_all(connection)
    connection.execute(
        schema.compatibility.insert().values(revision=schema.REVISION, min_code=schema.MIN_CODE)
    )
    is_postgres = connection.dialect.name == 'postgresql'
    try:
        for statement in _POSTGRESQL if is_postgres else _SQLITE:
            connection.exec_driver_sql(statement)
    except exc.DatabaseError as error:
        if is_postgres:
            raise
        raise Misconfigured(
            'the SQLite of this Python has no FTS5, which search needs: '
            f'use another Python, or Postgres ({error.orig})'
        ) from error
    # As Alembic makes it, which takes longer to import than everything else.
    connection.exec_driver_sql(
        'CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, '
        'CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))'
    )
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{schema.REVISION}')")


def _migrate(connection: sqlalchemy.Connection, target: str) -> None:
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    folder = os.path.join(os.path.dirname(__file__), 'migrations')
    config.set_main_option('script_location', folder)
    config.attributes['connection'] = connection
    alembic.command.upgrade(config, target)


# Whatever deletes a changeset deletes its words.
_POSTGRESQL = (
    """
CREATE TABLE changeset_words (
    changeset_id BIGINT NOT NULL,
    words TEXT[] COLLATE "C" NOT NULL,
    CONSTRAINT pk_changeset_words PRIMARY KEY (changeset_id),
    CONSTRAINT fk_changeset_words_changeset_id FOREIGN KEY (changeset_id)
        REFERENCES changesets (id) ON DELETE CASCADE
)
""",
    # New words wait in a list; a short one, for the push that fills it sorts it in.
    """
CREATE INDEX ix_changeset_words_words ON changeset_words USING gin (words)
WITH (gin_pending_list_limit = 256)
""",
    """
CREATE VIEW audit_log AS
SELECT audit.id, repositories.name AS repository, to_timestamp(audit.date) AS date,
    encode(audit."user", 'escape') AS "user", audit.action,
    CASE WHEN octet_length(audit.subject) = 20 THEN encode(audit.subject, 'hex')
        ELSE encode(audit.subject, 'escape') END AS subject,
    encode(audit.reason, 'escape') AS reason
FROM audit JOIN repositories ON repositories.id = audit.repository_id
""",
)
# The words are split already, and are ASCII: see `search`.
_SQLITE = (
    """
CREATE VIRTUAL TABLE changeset_words
USING fts5(words, detail=none, columnsize=0, tokenize="ascii tokenchars ':@\\'")
""",
    """
CREATE TRIGGER changeset_words_deleted AFTER DELETE ON changesets
BEGIN DELETE FROM changeset_words WHERE rowid = old.id; END
""",
    """
CREATE VIEW audit_log AS
SELECT audit.id, repositories.name AS repository, datetime(audit.date, 'unixepoch') AS date,
    CAST(audit."user" AS TEXT) AS "user", audit.action,
    CASE WHEN length(audit.subject) = 20 THEN lower(hex(audit.subject))
        ELSE CAST(audit.subject AS TEXT) END AS subject,
    CAST(audit.reason AS TEXT) AS reason
FROM audit JOIN repositories ON repositories.id = audit.repository_id
""",
)
