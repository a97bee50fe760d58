"""Writing a ``pushlog2.db``."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import LargeBinary, Text, bindparam, cast, func, select

from ..model import Clash, PastPush
from . import pushlog2
from .batching import batches
from .pushlog2 import changesets, entries, metadata, pushlog


class WritableFile(pushlog2.File):
    """An open pushlog2.db to which pushes can be added."""

    def make(self) -> None:
        """Make the tables that are missing."""
        with self.connected() as connection:
            metadata.create_all(connection)

    def add(
        self, pushes: Sequence[PastPush], rev: Callable[[bytes], int | None] | None
    ) -> list[Clash]:
        """Write pushes in one transaction, but those that are there. Returns those that
        clash with what is there.

        ``rev`` tells a changeset's number; without one the changeset is left out.
        None: they are numbered as they come.
        """
        with self.connected() as connection:
            return _add(connection, pushes, rev)


def _add(
    connection: sqlalchemy.Connection,
    pushes: Sequence[PastPush],
    rev: Callable[[bytes], int | None] | None,
) -> list[Clash]:
    if rev is None:
        top = connection.scalar(select(func.max(changesets.c.rev)))
        numbers = itertools.count(0 if top is None else top + 1)
    there = _there(connection, [push.push_id for push in pushes])
    owners = _owners(connection, [node for push in pushes for node in push.nodes])
    clashes: list[Clash] = []
    new: list[dict[str, Any]] = []
    names: list[dict[str, Any]] = []
    for push in pushes:
        user, date = there.get(push.push_id, (push.user, push.date))
        if (user, date) != (push.user, push.date):
            clashes.append(Clash(push, recorded=PastPush(push.push_id, user, date, ())))
            continue
        # Tombstones of the same name may stand in several pushes.
        others = [n for n in push.nodes if owners.get(n, push.push_id) != push.push_id]
        taken = next((n for n in others if n not in push.gone), None)
        if taken is not None:
            clashes.append(Clash(push, node=taken, owner=owners[taken]))
            continue
        if push.push_id not in there:
            new.append({'id': push.push_id, 'name': user, 'date': date})
        for node in push.nodes:
            if node in owners:
                continue
            number = next(numbers) if rev is None else rev(node)
            if number is not None:
                owners[node] = push.push_id
                names.append({'pushid': push.push_id, 'rev': number, 'node': node.hex()})
    if new:
        # Users need not be UTF-8, and have to be text all the same.
        user_text = cast(bindparam('name', type_=LargeBinary), Text)
        connection.execute(pushlog.insert().values(user=user_text), new)
    if names:
        connection.execute(changesets.insert(), names)
    return clashes


def _there(
    connection: sqlalchemy.Connection, push_ids: Sequence[int]
) -> dict[int, tuple[bytes, int]]:
    """User and date of those pushes that the file has."""
    return {
        row.id: (row.user or b'', int(row.date))
        for batch in batches(push_ids)
        for row in connection.execute(entries.where(pushlog.c.id.in_(batch)))
    }


def _owners(connection: sqlalchemy.Connection, nodes: Sequence[bytes]) -> dict[bytes, int]:
    """For each changeset that the file has: its push."""
    return {
        bytes.fromhex(row.node.decode('ascii')): row.pushid
        for batch in batches(nodes)
        for row in connection.execute(
            select(changesets).where(changesets.c.node.in_([node.hex() for node in batch]))
        )
    }


@contextlib.contextmanager
def writing(path: str) -> Iterator[WritableFile]:
    """As `pushlog2.reading`, to write to it; made where there is none."""
    with pushlog2.opened_engine(path, 'rwc') as engine:
        file = WritableFile(engine, path)
        file.make()
        yield file
