"""One transaction about one repository: what questions of the catalog are functions of."""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import select

from .schema import repositories


class Session:
    """A snapshot, where it only reads. ``repository_id`` is a scalar subquery: a repository
    has its row from its first push on."""

    def __init__(self, connection: sqlalchemy.Connection, repository: str) -> None:
        self.connection = connection
        self.repository = repository
        self.repository_id = (
            select(repositories.c.id).where(repositories.c.name == repository).scalar_subquery()
        )
        self.execute = connection.execute
        self.scalar = connection.scalar
        self.scalars = connection.scalars
