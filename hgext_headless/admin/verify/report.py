"""What ``admin::headless-verify`` finds: one line, or one object of the formatter, for each
problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mercurial.node import hex

from ... import hgcompat, store as stores
from ...backend import Backend
from ...errors import Corrupt, HeadlessError
from ...model import Bundle, Changeset
from ...store import Object, Store
from .. import options


class Problem(NamedTuple):
    """A problem, as `Report.problem` takes it.

    ``subject`` is the row whose object is broken, or ``is_lost``, or the object that has no row.
    """

    kind: bytes
    item: bytes
    text: bytes
    subject: Bundle | Object | None = None
    is_lost: bool = False


class Report:
    """Counts what was checked, and writes each problem as it is found.

    Only what was stored or pushed after ``since`` (seconds since the epoch) is checked; if
    ``full``, every object is read.
    """

    def __init__(self, ui: Any, fm: Any, repo: Any, backend: Backend, opts: dict[str, Any]) -> None:
        self.ui = ui
        self.repo = repo
        self.backend = backend
        self.since = options.moment('since', opts['since']) if opts['since'] else None
        self.full = bool(opts['full'])
        self.repair = bool(opts['repair'])
        self._fm = fm
        self.problems = self.repaired = self.bundles = self.pushes = self.young = 0
        #: Whether objects may hold drafts that have no row.
        self.has_orphans = self.since is not None

    def problem(
        self,
        kind: bytes,
        item: bytes,
        text: bytes,
        fix: Callable[[], object] | None = None,
        lost: Sequence[bytes] = (),
    ) -> bool:
        """Report a problem; return whether it was repaired.

        ``fix`` repairs it; it returns False or raises a `HeadlessError` if it could not. ``lost``
        are the drafts that are nowhere but in what has the problem.
        """
        repaired = self.repair and fix is not None and self._is_fixed(fix)
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
        return repaired

    def _is_fixed(self, fix: Callable[[], object]) -> bool:
        try:
            return fix() is not False
        except HeadlessError as exc:  # what else is wrong has to be reported, too
            self.ui.warn(b'%s\n' % hgcompat.to_bytes(exc.line()))
            return False


def differences(row: Changeset, there: Changeset, where: bytes) -> list[Problem]:
    """Return in what a row differs from the changeset ``there``.

    ``there`` was read from Mercurial, where its hash is checked, so the row must be wrong.
    """
    different = [
        hgcompat.to_bytes(name)
        for name, value in there._asdict().items()
        if getattr(row, name) != value
    ]
    text = b'its row in the database has another %s than it has itself (%s)'
    said = text % (b', '.join(different), where)
    return [Problem(b'changeset', hex(row.node), said)] if different else []


def has(repo: Any, node: bytes) -> bool:
    """Return whether the repository has a changeset. Read it again if not: it may be new."""
    if not repo.unfiltered().changelog.hasnode(node):
        repo.invalidateall()
    return repo.unfiltered().changelog.hasnode(node)


class Lost(Corrupt):
    """The store does not have an object."""


def check_object(store: Store, bundle: Bundle, size: int | None, will_be_read: bool) -> None:
    """Compare an object with its row: its size, and its digest unless it ``will_be_read``.

    If ``size``, which the store has listed, is not that of the row, the store is asked again.
    Raise `Lost` and `Corrupt`.
    """
    if size != bundle.size:
        size = store.size(bundle.key)
    if size is None:
        raise Lost('the object is not in the store')
    if size != bundle.size:
        raise Corrupt(f'the object has {size} bytes, and not {bundle.size}')
    if not will_be_read and store.sha256(bundle.key) != stores.digest(bundle.key):
        raise Corrupt(f'object {bundle.key} is not what its name says')
