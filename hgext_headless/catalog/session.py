"""One transaction about one repository. The queries of the catalog are functions of it."""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import select

from .schema import repositories


class Session:
    """A transaction about one repository; a snapshot, if it only reads.

    ``repository_id`` is a scalar subquery: a repository may have no row, or have been dropped.
    """

    def __init__(self, connection: sqlalchemy.Connection, repository: str) -> None:
        self.connection = connection
        self.repository = repository
        self.repository_id = (
            select(repositories.c.id)
            .where(repositories.c.name == repository, repositories.c.dropped.is_(None))
            .scalar_subquery()
        )
        self.execute = connection.execute
        self.scalar = connection.scalar
        self.scalars = connection.scalars
