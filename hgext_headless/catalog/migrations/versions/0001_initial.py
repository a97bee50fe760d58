"""The first schema.

Revision ID: 0001
"""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    UniqueConstraint,
)

revision = '0001'
down_revision = None

_Id = BigInteger().with_variant(Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table(
        'repositories',
        Column('id', Integer),
        Column('name', String(100), nullable=False),
        Column('last_push_id', BigInteger, nullable=False, server_default='0'),
        PrimaryKeyConstraint('id', name='pk_repositories'),
        UniqueConstraint('name', name='uq_repositories_name'),
    )
    op.create_table(
        'pushes',
        Column('repository_id', Integer, nullable=False),
        Column('push_id', BigInteger, nullable=False),
        Column('user', LargeBinary, nullable=False),
        Column('date', BigInteger, nullable=False),
        PrimaryKeyConstraint('repository_id', 'push_id', name='pk_pushes'),
        ForeignKeyConstraint(
            ['repository_id'], ['repositories.id'], name='fk_pushes_repository_id'
        ),
    )
    op.create_index('ix_pushes_repository_id_date', 'pushes', ['repository_id', 'date'])
    op.create_index(
        'ix_pushes_repository_id_user_push_id', 'pushes', ['repository_id', 'user', 'push_id']
    )
    op.create_table(
        'changesets',
        Column('id', _Id),
        Column('repository_id', Integer, nullable=False),
        Column('node', LargeBinary(20), nullable=False),
        Column('p1', LargeBinary(20), nullable=False),
        Column('p2', LargeBinary(20), nullable=False),
        Column('branch', LargeBinary, nullable=False),
        Column('author', LargeBinary, nullable=False),
        Column('date', BigInteger, nullable=False),
        Column('timezone', Integer, nullable=False),
        Column('description', LargeBinary, nullable=False),
        Column('files', LargeBinary, nullable=False),
        Column('extras', LargeBinary, nullable=False),
        PrimaryKeyConstraint('id', name='pk_changesets'),
        ForeignKeyConstraint(
            ['repository_id'], ['repositories.id'], name='fk_changesets_repository_id'
        ),
        UniqueConstraint('repository_id', 'node', name='uq_changesets_repository_id_node'),
    )
    op.create_table(
        'push_changesets',
        Column('repository_id', Integer, nullable=False),
        Column('push_id', BigInteger, nullable=False),
        Column('position', Integer, nullable=False),
        Column('changeset_id', _Id, nullable=False),
        PrimaryKeyConstraint('repository_id', 'push_id', 'position', name='pk_push_changesets'),
        ForeignKeyConstraint(
            ['changeset_id'], ['changesets.id'], name='fk_push_changesets_changeset_id'
        ),
        ForeignKeyConstraint(
            ['repository_id', 'push_id'],
            ['pushes.repository_id', 'pushes.push_id'],
            name='fk_push_changesets_repository_id_push_id',
        ),
        UniqueConstraint('changeset_id', name='uq_push_changesets_changeset_id'),
    )
    op.create_table(
        'bundles',
        Column('id', _Id),
        Column('repository_id', Integer, nullable=False),
        Column('key', String(255), nullable=False),
        Column('size', BigInteger, nullable=False),
        Column('sha512', String(128), nullable=False),
        Column('head', LargeBinary(20), nullable=False),
        Column('bases', LargeBinary, nullable=False),
        Column('created', BigInteger, nullable=False),
        Column('state', String(16), nullable=False, server_default='live'),
        PrimaryKeyConstraint('id', name='pk_bundles'),
        ForeignKeyConstraint(
            ['repository_id'], ['repositories.id'], name='fk_bundles_repository_id'
        ),
        UniqueConstraint('repository_id', 'key', name='uq_bundles_repository_id_key'),
    )
    op.create_table(
        'bundle_changesets',
        Column('bundle_id', _Id, ForeignKey('bundles.id', name='fk_bundle_changesets_bundle_id')),
        Column(
            'changeset_id',
            _Id,
            ForeignKey('changesets.id', name='fk_bundle_changesets_changeset_id'),
        ),
        Column('position', Integer, nullable=False),
        Column('is_head', Boolean, nullable=False),
        PrimaryKeyConstraint('bundle_id', 'changeset_id', name='pk_bundle_changesets'),
    )
    op.create_index(
        'ix_bundle_changesets_changeset_id_bundle_id',
        'bundle_changesets',
        ['changeset_id', 'bundle_id'],
    )
    op.create_table(
        'revisions',
        Column('repository_id', Integer, nullable=False),
        Column('node', LargeBinary(20), nullable=False),
        Column('changeset_id', _Id, nullable=False),
        PrimaryKeyConstraint('repository_id', 'node', 'changeset_id', name='pk_revisions'),
        ForeignKeyConstraint(
            ['repository_id'], ['repositories.id'], name='fk_revisions_repository_id'
        ),
        ForeignKeyConstraint(
            ['changeset_id'], ['changesets.id'], name='fk_revisions_changeset_id'
        ),
    )
    op.create_table(
        'bookmarks',
        Column('repository_id', Integer, nullable=False),
        Column('name', LargeBinary, nullable=False),
        Column('node', LargeBinary(20), nullable=False),
        PrimaryKeyConstraint('repository_id', 'name', name='pk_bookmarks'),
        ForeignKeyConstraint(
            ['repository_id'], ['repositories.id'], name='fk_bookmarks_repository_id'
        ),
    )
