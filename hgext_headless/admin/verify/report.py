"""What `admin::headless-verify` finds, a line or an object each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from mercurial.node import hex

from ... import hgcompat
from ...model import Changeset


class Report:
    """Counts what was looked at, and writes each problem as it is found."""

    def __init__(self, fm: Any, repair: bool) -> None:
        self._fm = fm
        self.repair = repair
        self.problems = self.repaired = self.bundles = self.pushes = 0

    def problem(
        self,
        kind: bytes,
        item: bytes,
        text: bytes,
        mend: Callable[[], bool] | None = None,
        lost: Sequence[bytes] = (),
    ) -> None:
        """Report a problem; ``mend`` repairs it, and tells whether it could. ``lost`` are
        drafts that only what has the problem holds."""
        repaired = self.repair and mend is not None and mend()
        self.problems += 1
        self.repaired += repaired
        self._fm.startitem()
        self._fm.write(b'kind item problem', b'%s: %s: %s', kind, item, text)
        self._fm.data(repaired=repaired)
        drafts = [hex(node) for node in lost]
        self._fm.data(drafts=self._fm.formatlist(drafts, b'draft'))
        self._fm.plain(b' (repaired)\n' if repaired else b'\n')
        for draft in drafts:
            self._fm.plain(b'  holds draft %s\n' % draft)


    def row(self, row: Changeset, there: Changeset, where: bytes) -> None:
        """Report a row that is not what the changeset ``there`` says. What Mercurial hashes is
        in ``there``, so that the row's hash would be another one."""
        different = [
            hgcompat.to_bytes(field.name)
            for field in dataclasses.fields(there)
            if getattr(row, field.name) != getattr(there, field.name)
        ]
        if different:
            text = b'its row in the database has another %s than it has itself (%s)'
            self.problem(b'changeset', hex(row.node), text % (b', '.join(different), where))


def has(repo: Any, node: bytes) -> bool:
    """Whether a changeset is in the repository; it may just have come."""
    if not repo.unfiltered().changelog.hasnode(node):
        repo.invalidateall()
    found: bool = repo.unfiltered().changelog.hasnode(node)
    return found
