"""The schema of 1.0.0.

Revision ID: 1001
"""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Text,
    UniqueConstraint,
    exc,
)

from hgext_headless.errors import Misconfigured

revision = '1001'
down_revision = None

_Id = BigInteger().with_variant(Integer(), 'sqlite')
_Node = LargeBinary(20)


def _of_repository(table: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ['repository_id'],
        ['repositories.id'],
        name=f'fk_{table}_repository_id',
        ondelete='CASCADE',
    )


def upgrade() -> None:
    op.create_table(
        'repositories',
        Column('id', Integer, nullable=False),
        Column('name', String(100), nullable=False),
        Column('last_push_id', BigInteger, server_default='0', nullable=False),
        Column('imported_push_id', BigInteger, server_default='0', nullable=False),
        Column('importing_push_id', BigInteger, server_default='0', nullable=False),
        Column('imported_pushes', BigInteger),
        Column('dropped', BigInteger),
        PrimaryKeyConstraint('id', name='pk_repositories'),
        UniqueConstraint('name', name='uq_repositories_name'),
    )
    op.create_table(
        'epochs',
        Column('repository_id', Integer, nullable=False),
        Column('first_push_id', BigInteger, nullable=False),
        Column('epoch', String(32), nullable=False),
        Column('known_push_id', BigInteger, nullable=False),
        Column('began', BigInteger, nullable=False),
        _of_repository('epochs'),
        PrimaryKeyConstraint('repository_id', 'first_push_id', name='pk_epochs'),
    )
    compatibility = op.create_table(
        'compatibility',
        Column('revision', String(32), nullable=False),
        Column('min_code', String(32), nullable=False),
        PrimaryKeyConstraint('revision', name='pk_compatibility'),
    )
    op.create_table(
        'pushes',
        Column('repository_id', Integer, nullable=False),
        Column('push_id', BigInteger, nullable=False),
        Column('user', LargeBinary, nullable=False),
        Column('date', BigInteger, nullable=False),
        Column('listed', Integer),
        Column('size', BigInteger),
        Column('seconds', Float),
        _of_repository('pushes'),
        PrimaryKeyConstraint('repository_id', 'push_id', name='pk_pushes'),
    )
    op.create_index('ix_pushes_repository_id_date', 'pushes', ['repository_id', 'date'])
    op.create_index(
        'ix_pushes_repository_id_user_push_id', 'pushes', ['repository_id', 'user', 'push_id']
    )
    op.create_table(
        'bundles',
        Column('id', _Id, nullable=False),
        Column('repository_id', Integer, nullable=False),
        Column('key', String(255), nullable=False),
        Column('size', BigInteger, nullable=False),
        Column('sha512', String(128), nullable=False),
        Column('head', _Node, nullable=False),
        Column('bases', LargeBinary, nullable=False),
        Column('created', BigInteger, nullable=False),
        Column('state', String(16), server_default='live', nullable=False),
        _of_repository('bundles'),
        PrimaryKeyConstraint('id', name='pk_bundles'),
        UniqueConstraint('repository_id', 'key', name='uq_bundles_repository_id_key'),
    )
    op.create_index('ix_bundles_repository_id_created', 'bundles', ['repository_id', 'created'])
    op.create_index('ix_bundles_repository_id_head', 'bundles', ['repository_id', 'head'])
    op.create_table(
        'changesets',
        Column('id', _Id, nullable=False),
        Column('repository_id', Integer, nullable=False),
        Column('node', _Node, nullable=False),
        Column('p1', _Node, nullable=False),
        Column('p2', _Node, nullable=False),
        Column('branch', LargeBinary, nullable=False),
        Column('author', LargeBinary, nullable=False),
        Column('date', BigInteger, nullable=False),
        Column('timezone', Integer, nullable=False),
        Column('description', LargeBinary, nullable=False),
        Column('files', LargeBinary, nullable=False),
        Column('extras', LargeBinary, nullable=False),
        _of_repository('changesets'),
        PrimaryKeyConstraint('id', name='pk_changesets'),
        UniqueConstraint('repository_id', 'node', name='uq_changesets_repository_id_node'),
    )
    op.create_table(
        'push_branches',
        Column('repository_id', Integer, nullable=False),
        Column('branch', LargeBinary, nullable=False),
        Column('push_id', BigInteger, nullable=False),
        ForeignKeyConstraint(
            ['repository_id', 'push_id'],
            ['pushes.repository_id', 'pushes.push_id'],
            name='fk_push_branches_repository_id_push_id',
            ondelete='CASCADE',
        ),
        PrimaryKeyConstraint('repository_id', 'branch', 'push_id', name='pk_push_branches'),
    )
    op.create_table(
        'push_changesets',
        Column('repository_id', Integer, nullable=False),
        Column('push_id', BigInteger, nullable=False),
        Column('position', Integer, nullable=False),
        Column('changeset_id', _Id, nullable=False),
        ForeignKeyConstraint(
            ['changeset_id'], ['changesets.id'], name='fk_push_changesets_changeset_id'
        ),
        ForeignKeyConstraint(
            ['repository_id', 'push_id'],
            ['pushes.repository_id', 'pushes.push_id'],
            name='fk_push_changesets_repository_id_push_id',
            ondelete='CASCADE',
        ),
        PrimaryKeyConstraint('repository_id', 'push_id', 'position', name='pk_push_changesets'),
        UniqueConstraint('changeset_id', name='uq_push_changesets_changeset_id'),
    )
    op.create_table(
        'bundle_changesets',
        Column('bundle_id', _Id, nullable=False),
        Column('changeset_id', _Id, nullable=False),
        Column('position', Integer, nullable=False),
        Column('is_head', Boolean, nullable=False),
        ForeignKeyConstraint(
            ['bundle_id'], ['bundles.id'], name='fk_bundle_changesets_bundle_id', ondelete='CASCADE'
        ),
        ForeignKeyConstraint(
            ['changeset_id'], ['changesets.id'], name='fk_bundle_changesets_changeset_id'
        ),
        PrimaryKeyConstraint('bundle_id', 'changeset_id', name='pk_bundle_changesets'),
    )
    op.create_index(
        'ix_bundle_changesets_changeset_id_bundle_id',
        'bundle_changesets',
        ['changeset_id', 'bundle_id'],
    )
    op.create_table(
        'draft_roots',
        Column('repository_id', Integer, nullable=False),
        Column('changeset_id', _Id, nullable=False),
        Column('pushed', BigInteger, nullable=False),
        ForeignKeyConstraint(
            ['changeset_id'], ['changesets.id'], name='fk_draft_roots_changeset_id'
        ),
        _of_repository('draft_roots'),
        PrimaryKeyConstraint('changeset_id', name='pk_draft_roots'),
    )
    op.create_index(
        'ix_draft_roots_repository_id_pushed', 'draft_roots', ['repository_id', 'pushed']
    )
    op.create_table(
        'other_pushes',
        Column('id', _Id, nullable=False),
        Column('repository_id', Integer, nullable=False),
        Column('user', LargeBinary, nullable=False),
        Column('date', BigInteger, nullable=False),
        Column('size', BigInteger, nullable=False),
        _of_repository('other_pushes'),
        PrimaryKeyConstraint('id', name='pk_other_pushes'),
    )
    op.create_index(
        'ix_other_pushes_repository_id_user_date',
        'other_pushes',
        ['repository_id', 'user', 'date'],
    )
    op.create_table(
        'bookmarks',
        Column('repository_id', Integer, nullable=False),
        Column('name', LargeBinary, nullable=False),
        Column('node', _Node, nullable=False),
        Column('updated', BigInteger, server_default='0', nullable=False),
        _of_repository('bookmarks'),
        PrimaryKeyConstraint('repository_id', 'name', name='pk_bookmarks'),
    )
    op.create_index('ix_bookmarks_repository_id_node', 'bookmarks', ['repository_id', 'node'])
    op.create_index('ix_bookmarks_repository_id_updated', 'bookmarks', ['repository_id', 'updated'])
    op.create_table(
        'markers',
        Column('id', _Id, nullable=False),
        Column('repository_id', Integer, nullable=False),
        Column('digest', LargeBinary(32), nullable=False),
        Column('predecessor', _Node, nullable=False),
        Column('data', LargeBinary, nullable=False),
        _of_repository('markers'),
        PrimaryKeyConstraint('id', name='pk_markers'),
        UniqueConstraint('repository_id', 'digest', name='uq_markers_repository_id_digest'),
    )
    op.create_index(
        'ix_markers_repository_id_predecessor', 'markers', ['repository_id', 'predecessor']
    )
    op.create_table(
        'marker_nodes',
        Column('repository_id', Integer, nullable=False),
        Column('node', _Node, nullable=False),
        Column('marker_id', _Id, nullable=False),
        ForeignKeyConstraint(
            ['marker_id'], ['markers.id'], name='fk_marker_nodes_marker_id', ondelete='CASCADE'
        ),
        _of_repository('marker_nodes'),
        PrimaryKeyConstraint('repository_id', 'node', 'marker_id', name='pk_marker_nodes'),
    )
    op.create_index('ix_marker_nodes_marker_id', 'marker_nodes', ['marker_id'])
    op.create_table(
        'tombstones',
        Column('repository_id', Integer, nullable=False),
        Column('push_id', BigInteger, nullable=False),
        Column('position', Integer, nullable=False),
        Column('node', _Node, nullable=False),
        Column('p1', _Node, nullable=False),
        Column('p2', _Node, nullable=False),
        Column('gone', BigInteger),
        ForeignKeyConstraint(
            ['repository_id', 'push_id'],
            ['pushes.repository_id', 'pushes.push_id'],
            name='fk_tombstones_repository_id_push_id',
            ondelete='CASCADE',
        ),
        PrimaryKeyConstraint('repository_id', 'push_id', 'position', name='pk_tombstones'),
    )
    op.create_index('ix_tombstones_repository_id_node', 'tombstones', ['repository_id', 'node'])
    # ### end Alembic commands ###
    op.create_table(
        'pending_deletions',
        Column('repository_id', Integer, nullable=False),
        Column('key', String(255), nullable=False),
        Column('since', BigInteger, nullable=False),
        Column('deleted', Boolean, nullable=False),
        Column('refused', Boolean, nullable=False),
        _of_repository('pending_deletions'),
        PrimaryKeyConstraint('repository_id', 'key', name='pk_pending_deletions'),
    )
    op.create_table(
        'leases',
        Column('name', String(255), nullable=False),
        Column('owner', String(255), nullable=False),
        Column('until', BigInteger, nullable=False),
        PrimaryKeyConstraint('name', name='pk_leases'),
    )
    op.create_table(
        'audit',
        Column('id', _Id, nullable=False),
        Column('repository_id', Integer, nullable=False),
        Column('date', BigInteger, nullable=False),
        Column('user', LargeBinary, nullable=False),
        Column('action', String(16), nullable=False),
        Column('subject', LargeBinary, nullable=False),
        Column('reason', LargeBinary, nullable=False),
        _of_repository('audit'),
        PrimaryKeyConstraint('id', name='pk_audit'),
    )
    op.create_index(
        'ix_audit_repository_id_action_subject', 'audit', ['repository_id', 'action', 'subject']
    )
    op.create_table(
        'public_history',
        Column('repository_id', Integer, nullable=False),
        Column('position', BigInteger, nullable=False),
        Column('heads', LargeBinary, nullable=False),
        _of_repository('public_history'),
        PrimaryKeyConstraint('repository_id', name='pk_public_history'),
    )
    op.create_table(
        'public_log',
        Column('repository_id', Integer, nullable=False),
        Column('position', BigInteger, nullable=False),
        Column('bundle_id', _Id, nullable=False),
        Column('added', LargeBinary, nullable=False),
        Column('removed', LargeBinary, nullable=False),
        Column('logged', BigInteger, nullable=False),
        ForeignKeyConstraint(['bundle_id'], ['bundles.id'], name='fk_public_log_bundle_id'),
        _of_repository('public_log'),
        PrimaryKeyConstraint('repository_id', 'position', name='pk_public_log'),
    )
    op.create_index('ix_public_log_bundle_id', 'public_log', ['bundle_id'])
    op.create_table(
        'public_bookmarks',
        Column('repository_id', Integer, nullable=False),
        Column('name', LargeBinary, nullable=False),
        Column('node', LargeBinary, nullable=False),
        Column('move', LargeBinary(16), nullable=False),
        Column('moved', BigInteger, nullable=False),
        _of_repository('public_bookmarks'),
        PrimaryKeyConstraint('repository_id', 'name', name='pk_public_bookmarks'),
    )
    op.create_table(
        'announcements',
        Column('repository_id', Integer, nullable=False),
        Column('target', String(100), nullable=False),
        Column('push_id', BigInteger, nullable=False),
        Column('failures', Integer, nullable=False),
        Column('error', Text, nullable=False),
        Column('retry', BigInteger, nullable=False),
        _of_repository('announcements'),
        PrimaryKeyConstraint('repository_id', 'target', name='pk_announcements'),
    )
    op.create_table(
        'last_runs',
        Column('repository_id', Integer, nullable=False),
        Column('command', String(32), nullable=False),
        Column('ended', BigInteger, nullable=False),
        Column('found', BigInteger),
        _of_repository('last_runs'),
        PrimaryKeyConstraint('repository_id', 'command', name='pk_last_runs'),
    )

    op.bulk_insert(compatibility, [{'revision': revision, 'min_code': revision}])
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
