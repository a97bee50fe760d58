"""The log of public history; announcements, last runs of commands, sizes, expiry dates.

Revision ID: 0007
"""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Text,
    column,
    table,
)

revision = '0007'
down_revision = '0006'


def upgrade() -> None:
    # Code of schema 0006 does not write the log; newer code finds what is missing.
    compatibility = table('compatibility', column('revision'), column('min_code'))
    op.bulk_insert(compatibility, [{'revision': revision, 'min_code': '0006'}])
    op.add_column('pushes', Column('size', BigInteger))
    op.add_column('tombstones', Column('gone', BigInteger))
    op.create_table(
        'public_history',
        _repository_id(),
        Column('position', BigInteger, nullable=False),
        Column('heads', LargeBinary, nullable=False),
        *_keys('public_history'),
    )
    op.create_table(
        'public_log',
        _repository_id(),
        Column('position', BigInteger, nullable=False),
        Column('bundle_id', BigInteger().with_variant(Integer(), 'sqlite'), nullable=False),
        Column('added', LargeBinary, nullable=False),
        Column('removed', LargeBinary, nullable=False),
        Column('logged', BigInteger, nullable=False),
        *_keys('public_log', 'position'),
        ForeignKeyConstraint(['bundle_id'], ['bundles.id'], name='fk_public_log_bundle_id'),
    )
    op.create_index('ix_public_log_bundle_id', 'public_log', ['bundle_id'])
    op.create_table(
        'public_bookmarks',
        _repository_id(),
        Column('name', LargeBinary, nullable=False),
        Column('node', LargeBinary, nullable=False),
        Column('position', BigInteger, nullable=False),
        *_keys('public_bookmarks', 'name'),
    )
    op.create_index(
        'ix_public_bookmarks_repository_id_position',
        'public_bookmarks',
        ['repository_id', 'position'],
    )
    op.create_table(
        'announcements',
        _repository_id(),
        Column('target', String(100), nullable=False),
        Column('push_id', BigInteger, nullable=False),
        Column('failures', Integer, nullable=False),
        Column('error', Text, nullable=False),
        Column('retry', BigInteger, nullable=False),
        *_keys('announcements', 'target'),
    )
    op.create_table(
        'last_runs',
        _repository_id(),
        Column('command', String(32), nullable=False),
        Column('ended', BigInteger, nullable=False),
        Column('found', BigInteger),
        *_keys('last_runs', 'command'),
    )


def _repository_id() -> Column[int]:
    return Column('repository_id', Integer, nullable=False)


def _keys(name: str, *columns: str) -> tuple[PrimaryKeyConstraint, ForeignKeyConstraint]:
    return (
        PrimaryKeyConstraint('repository_id', *columns, name=f'pk_{name}'),
        ForeignKeyConstraint(
            ['repository_id'], ['repositories.id'], name=f'fk_{name}_repository_id'
        ),
    )
