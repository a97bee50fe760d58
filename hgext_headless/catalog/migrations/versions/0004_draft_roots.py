"""The draft roots of recent pushes. No push asks any more which draft a revision came with.

Revision ID: 0004
"""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
)

revision = '0004'
down_revision = '0003'

_Id = BigInteger().with_variant(Integer(), 'sqlite')


def upgrade() -> None:
    op.drop_table('revisions')
    op.create_table(
        'draft_roots',
        Column('repository_id', Integer, nullable=False),
        Column('changeset_id', _Id, nullable=False),
        Column('pushed', BigInteger, nullable=False),
        PrimaryKeyConstraint('changeset_id', name='pk_draft_roots'),
        ForeignKeyConstraint(
            ['repository_id'], ['repositories.id'], name='fk_draft_roots_repository_id'
        ),
        ForeignKeyConstraint(
            ['changeset_id'], ['changesets.id'], name='fk_draft_roots_changeset_id'
        ),
    )
    op.create_index(
        'ix_draft_roots_repository_id_pushed', 'draft_roots', ['repository_id', 'pushed']
    )
