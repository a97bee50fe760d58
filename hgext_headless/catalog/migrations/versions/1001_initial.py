"""The schema of 1.0.0, on which later migrations build. A new database is made from `schema`."""

revision = '1001'
down_revision = None
