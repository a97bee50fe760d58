"""What the operator's commands need.

Revision ID: 0003
"""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    UniqueConstraint,
)

revision = '0003'
down_revision = '0002'

_Id = BigInteger().with_variant(Integer(), 'sqlite')


def _of_repository(table: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ['repository_id'], ['repositories.id'], name=f'fk_{table}_repository_id'
    )


def upgrade() -> None:
    for name in ('imported_push_id', 'importing_push_id'):
        op.add_column(
            'repositories', Column(name, BigInteger, nullable=False, server_default='0')
        )
    op.add_column(
        'bookmarks', Column('updated', BigInteger, nullable=False, server_default='0')
    )
    for table, columns in (
        ('bookmarks', ['repository_id', 'updated']),
        ('bookmarks', ['repository_id', 'node']),
        ('bundles', ['repository_id', 'head']),
        ('bundles', ['repository_id', 'created']),
    ):
        op.create_index('_'.join(['ix', table, *columns]), table, columns)
    op.create_table(
        'markers',
        Column('id', _Id),
        Column('repository_id', Integer, nullable=False),
        Column('digest', LargeBinary(32), nullable=False),
        Column('predecessor', LargeBinary(20), nullable=False),
        Column('data', LargeBinary, nullable=False),
        PrimaryKeyConstraint('id', name='pk_markers'),
        _of_repository('markers'),
        UniqueConstraint('repository_id', 'digest', name='uq_markers_repository_id_digest'),
    )
    op.create_index(
        'ix_markers_repository_id_predecessor', 'markers', ['repository_id', 'predecessor']
    )
    op.create_table(
        'marker_nodes',
        Column('repository_id', Integer, nullable=False),
        Column('node', LargeBinary(20), nullable=False),
        Column('marker_id', _Id, nullable=False),
        PrimaryKeyConstraint('repository_id', 'node', 'marker_id', name='pk_marker_nodes'),
        _of_repository('marker_nodes'),
        ForeignKeyConstraint(['marker_id'], ['markers.id'], name='fk_marker_nodes_marker_id'),
    )
    op.create_index('ix_marker_nodes_marker_id', 'marker_nodes', ['marker_id'])
    op.create_table(
        'tombstones',
        Column('repository_id', Integer, nullable=False),
        Column('push_id', BigInteger, nullable=False),
        Column('position', Integer, nullable=False),
        Column('node', LargeBinary(20), nullable=False),
        Column('p1', LargeBinary(20), nullable=False),
        Column('p2', LargeBinary(20), nullable=False),
        PrimaryKeyConstraint('repository_id', 'push_id', 'position', name='pk_tombstones'),
        ForeignKeyConstraint(
            ['repository_id', 'push_id'],
            ['pushes.repository_id', 'pushes.push_id'],
            name='fk_tombstones_repository_id_push_id',
        ),
    )
    op.create_index('ix_tombstones_repository_id_node', 'tombstones', ['repository_id', 'node'])
    op.create_table(
        'doomed',
        Column('repository_id', Integer, nullable=False),
        Column('key', String(255), nullable=False),
        Column('since', BigInteger, nullable=False),
        Column('deleted', Boolean, nullable=False),
        PrimaryKeyConstraint('repository_id', 'key', name='pk_doomed'),
        _of_repository('doomed'),
    )
    op.create_table(
        'audit',
        Column('id', _Id),
        Column('repository_id', Integer, nullable=False),
        Column('date', BigInteger, nullable=False),
        Column('user', LargeBinary, nullable=False),
        Column('action', String(16), nullable=False),
        Column('subject', LargeBinary, nullable=False),
        Column('reason', LargeBinary, nullable=False),
        PrimaryKeyConstraint('id', name='pk_audit'),
        _of_repository('audit'),
    )
    op.create_index(
        'ix_audit_repository_id_action_subject', 'audit', ['repository_id', 'action', 'subject']
    )
