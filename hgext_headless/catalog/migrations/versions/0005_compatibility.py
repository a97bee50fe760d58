"""Which code may write (see `catalog.engine.check_revision`), numbers by which a lost row
shows, leases, and the audit table for people.

Revision ID: 0005
"""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, String

revision = '0005'
down_revision = '0004'


def upgrade() -> None:
    table = op.create_table(
        'compatibility',
        Column('revision', String(32), nullable=False),
        Column('min_code', String(32), nullable=False),
        PrimaryKeyConstraint('revision', name='pk_compatibility'),
    )
    # Code of schema 0004 needs nothing that is gone: its processes may go on.
    op.bulk_insert(table, [{'revision': revision, 'min_code': '0004'}])
    op.create_table(
        'leases',
        Column('name', String(255), nullable=False),
        Column('owner', String(255), nullable=False),
        Column('until', BigInteger, nullable=False),
        PrimaryKeyConstraint('name', name='pk_leases'),
    )
    op.add_column('repositories', Column('imported_pushes', BigInteger))
    op.add_column('pushes', Column('listed', Integer))
    op.execute(_POSTGRESQL if op.get_bind().dialect.name == 'postgresql' else _SQLITE)


_POSTGRESQL = """
CREATE VIEW audit_log AS
SELECT audit.id, repositories.name AS repository, to_timestamp(audit.date) AS date,
    encode(audit."user", 'escape') AS "user", audit.action,
    CASE WHEN octet_length(audit.subject) = 20 THEN encode(audit.subject, 'hex')
        ELSE encode(audit.subject, 'escape') END AS subject,
    encode(audit.reason, 'escape') AS reason
FROM audit JOIN repositories ON repositories.id = audit.repository_id
"""
_SQLITE = """
CREATE VIEW audit_log AS
SELECT audit.id, repositories.name AS repository, datetime(audit.date, 'unixepoch') AS date,
    CAST(audit."user" AS TEXT) AS "user", audit.action,
    CASE WHEN length(audit.subject) = 20 THEN lower(hex(audit.subject))
        ELSE CAST(audit.subject AS TEXT) END AS subject,
    CAST(audit.reason AS TEXT) AS reason
FROM audit JOIN repositories ON repositories.id = audit.repository_id
"""
