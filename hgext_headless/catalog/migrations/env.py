"""Alembic's environment. It uses the connection that `catalog.migrate` opened."""

from alembic import context

from hgext_headless.catalog import schema

context.configure(
    connection=context.config.attributes['connection'],
    target_metadata=schema.metadata,
    transactional_ddl=False,
)
context.run_migrations()
