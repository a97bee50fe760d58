"""The words of changesets, for search. "hg admin::headless-init" writes those of changesets
that are there already, beside pushes: see `catalog.search.fill`.

Revision ID: 0006
"""

from alembic import op
from sqlalchemy import column, exc, table

from hgext_headless.errors import Misconfigured

revision = '0006'
down_revision = '0005'


def upgrade() -> None:
    # Code of schema 0005 writes no words, and needs nothing that is gone.
    compatibility = table('compatibility', column('revision'), column('min_code'))
    op.bulk_insert(compatibility, [{'revision': revision, 'min_code': '0005'}])
    connection = op.get_bind()
    if connection.dialect.name == 'postgresql':
        for statement in _POSTGRESQL:
            connection.exec_driver_sql(statement)
        return
    try:
        for statement in _SQLITE:
            connection.exec_driver_sql(statement)
    except exc.DatabaseError as error:
        raise Misconfigured(
            'the SQLite of this Python has no FTS5, which search needs: '
            f'use another Python, or Postgres ({error.orig})'
        ) from error


# Whatever deletes a changeset, code from before too, deletes its words.
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
)
# The words are split already, and are ASCII: see `catalog.words`.
_SQLITE = (
    """
CREATE VIRTUAL TABLE changeset_words
USING fts5(words, detail=none, columnsize=0, tokenize="ascii tokenchars ':@\\'")
""",
    """
CREATE TRIGGER changeset_words_deleted AFTER DELETE ON changesets
BEGIN DELETE FROM changeset_words WHERE rowid = old.id; END
""",
)
