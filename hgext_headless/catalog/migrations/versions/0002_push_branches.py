"""The branches of pushes.

Revision ID: 0002
"""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
)

revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    op.create_table(
        'push_branches',
        Column('repository_id', Integer, nullable=False),
        Column('branch', LargeBinary, nullable=False),
        Column('push_id', BigInteger, nullable=False),
        PrimaryKeyConstraint('repository_id', 'branch', 'push_id', name='pk_push_branches'),
        ForeignKeyConstraint(
            ['repository_id', 'push_id'],
            ['pushes.repository_id', 'pushes.push_id'],
            name='fk_push_branches_repository_id_push_id',
        ),
    )
    op.execute(
        'INSERT INTO push_branches (repository_id, branch, push_id) '
        'SELECT DISTINCT push_changesets.repository_id, changesets.branch, push_changesets.push_id '
        'FROM push_changesets JOIN changesets ON changesets.id = push_changesets.changeset_id'
    )
