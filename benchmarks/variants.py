"""What is compared: servers of the same history, and the clients of each.

``stock`` is hg without the extensions and without a draft head, ``heads`` the same with
thousands of them, ``ours`` both extensions with nothing stored yet, and ``stored`` the
same with many drafts in the database.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import history
from drafts import commits
from helpers import services as running
from helpers.world import Clone, Server, World
from seed import seed

REPOSITORY = 'bench'
_STOCK = '[phases]\npublish = no\n[web]\npush_ssl = no\nallow-push = *\n'
#: Without it, who has 10,000 heads cannot pull over http: "431 Too many headers".
_HEADS = '[experimental]\nhttppostargs = yes\n'


class Backend(Protocol):
    """Where the drafts of a server go."""

    def settings(self, world: World, name: str) -> str:
        """Of a database and store for a server of that name; empty for the defaults."""

    def database(self, server: Server) -> str:
        """SQLAlchemy's URL."""


class Embedded:
    """SQLite and a folder."""

    def settings(self, world: World, name: str) -> str:
        return ''

    def database(self, server: Server) -> str:
        return f'sqlite:///{server.root}/.hg/headless/catalog.sqlite'


class OnServices:
    """Postgres and an S3 server."""

    def __init__(self, services: running.Services) -> None:
        self._services = services

    def _name(self, name: str) -> str:
        return name.replace('-', '_')

    def settings(self, world: World, name: str) -> str:
        name = self._name(name)
        running.execute(self._services, f'CREATE DATABASE {name}')
        world.env.update(
            AWS_ACCESS_KEY_ID=running.ACCESS_KEY, AWS_SECRET_ACCESS_KEY=running.SECRET_KEY
        )
        return (
            f'database = {self._services.database.format(name=name)}\n'
            f'store = s3://{running.BUCKET}/{name}\n'
            f's3-endpoint-url = {self._services.endpoint}\ns3-region = us-east-1\n'
            'link-secret = not-so-secret\n'
        )

    def database(self, server: Server) -> str:
        return self._services.database.format(name=self._name(server.root.name))


@contextlib.contextmanager
def backend(name: str) -> Iterator[Backend]:
    """'embedded', or 'services', which run as long as the block."""
    if name == 'embedded':
        yield Embedded()
        return
    # Postgres runs as another user where we are root: the folder must be reachable.
    folder = Path(tempfile.mkdtemp(prefix='headless-services-'))
    folder.chmod(0o755)
    (folder / 's3').mkdir()
    try:
        with running.postgres(folder / 'pg') as database:
            with running.seaweed(folder / 's3') as endpoint:
                yield OnServices(running.Services(database, endpoint))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def server(
    world: World, name: str, base: Path, kind: str, where: Backend, drafts: int
) -> Server:
    """A server of a copy of ``base``, with ``drafts`` stored where ``kind`` is 'stored'."""
    made = Server(world, name, public=0)
    shutil.rmtree(made.root / '.hg')
    history.copy(base, made.root)
    if kind in ('stock', 'heads'):
        (made.root / '.hg' / 'hgrc').write_text(_STOCK + _HEADS * (kind == 'heads'))
        return made
    made.configure(f'repository = {REPOSITORY}\n' + where.settings(world, name))
    made.hg('admin::headless-init')
    if kind == 'stored':
        seed(where.database(made), REPOSITORY, bytes.fromhex(made.node('tip')), drafts)
    return made


class Variant:
    """A server, and those who work with it.

    ``pusher`` has the public history and what it has pushed, ``puller`` and what it has
    pulled, ``follower`` all that a plain pull brings. ``small`` is a server of a small
    repository.
    """

    def __init__(
        self,
        world: World,
        name: str,
        bases: dict[str, tuple[Path, Path]],
        where: Backend,
        drafts: int,
    ) -> None:
        """``bases`` are the 'large' and the 'small' history, each without and with heads."""
        self.name = name
        headed = name == 'heads'
        self.server = server(world, name, bases['large'][headed], name, where, drafts)
        self.small = server(
            world, f'{name}-small', bases['small'][headed], name, where, drafts
        )
        public = bases['large'][0]
        self.pusher = self._client('pusher', public)
        self.puller = self._client('puller', public)
        self.follower = self._client('follower', bases['large'][headed])
        #: The newest public changeset.
        self.public = self.pusher.node('tip')
        #: Drafts that the server has got, newest last.
        self.drafts: list[str] = []
        somebody = self._client('somebody', bases['small'][0])
        (self.small_draft,) = commits(somebody, somebody.node('tip'))
        somebody.hg('push', '-qf', '-r', self.small_draft, str(self.small.root))

    def _client(self, role: str, base: Path) -> Clone:
        made = Clone(self.server.world, self.server.world.folder / f'{self.name}-{role}')
        history.copy(base, made.root)
        return made

    def restart(self) -> str:
        self.server.stop()
        return self.server.start()

    def stop(self) -> None:
        self.server.stop()
        self.small.stop()
