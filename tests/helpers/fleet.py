"""Two push servers and a replica, with a database and a store in common."""

from __future__ import annotations

import sqlalchemy

from helpers import services as running
from helpers.world import Server, World

FOLLOW = 'admin::headless-follow'


class Fleet:
    def __init__(self, world: World, settings: str) -> None:
        self.world = world
        self.a = Server(world, 'a', settings)
        self.a.hg_fast('admin::headless-init')
        self.settings = settings
        self.b = Server(world, 'b', settings, copied=self.a.root)
        self.replica = self.add_replica('replica')

    def add_replica(self, name: str) -> Server:
        return Server(self.world, name, self.settings, extensions=('web',), copied=self.a.root)

    @property
    def servers(self) -> list[Server]:
        return [self.a, self.b, self.replica]

    def follow(self) -> None:
        for server in self.servers:
            server.hg(FOLLOW)

    def check_equal(self) -> None:
        first = public(self.a)
        assert [public(server) for server in self.servers] == [first] * len(self.servers)
        for server in self.servers:
            assert server.log('not public()') == []

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
            assert 'Traceback' not in server.errors()


def public(server: Server) -> list[str]:
    """The public changesets and bookmarks of a server."""
    return sorted(server.log('all()', '{node} {bookmarks}\n'))


def sql(server: Server, statement: str) -> list[tuple]:
    """Run a statement on the database of a server, behind everybody's back; its rows."""
    engine = sqlalchemy.create_engine(server.configured('database'))
    with engine.begin() as connection:
        done = connection.execute(sqlalchemy.text(statement))
        rows = [tuple(row) for row in done] if done.returns_rows else []
    engine.dispose()
    return rows


class Backup:
    """A copy of a server's database, as pg_dump makes one."""

    def __init__(self, services: running.Services, server: Server) -> None:
        self._services = services
        self._name = sqlalchemy.make_url(server.configured('database')).database
        self._copy(self._name, f'{self._name}_backup')

    def restore(self) -> None:
        """Lose the database, and put back what it was."""
        self._alone(self._name)
        running.execute(self._services, f'DROP DATABASE {self._name}')
        self._copy(f'{self._name}_backup', self._name)

    def _copy(self, old: str, new: str) -> None:
        self._alone(old)
        running.execute(self._services, f'CREATE DATABASE {new} TEMPLATE {old}')

    def _alone(self, name: str) -> None:
        """End the sessions of a database: a template may have none."""
        running.execute(
            self._services,
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )
