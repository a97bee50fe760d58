"""Check that each row of a bundle has its object, each object its row, and each draft its bases."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mercurial.node import hex

from ... import hgcompat, store as stores
from ...bundles import ancestry, check, overlay as overlays
from ...catalog import bundle_rows, consistency, drop as drop_rows, epochs, statements
from ...errors import Corrupt, HeadlessError, Misconfigured, Temporary
from ...lifecycle import delete, drop, upload
from ...model import Bundle
from ...replication import unrecorded
from ...store import Object
from .. import options, parallel, rebuild
from .report import Lost, Problem, Report, check_object, differences, has

#: Seconds in which a push records what it has stored, unless its server died.
YOUNG = 600
#: Number of bundles from which on other processes are worth their start, and the largest number
#: of processes: each has a connection to the database.
_MANY, _MOST = 200, 8
#: Number of lost objects that does not make the store look like a wrong one.
_FEW = 20


class Examined(NamedTuple):
    """The ``bundles`` with one prefix; ``young`` objects without a row may be of a push."""

    bundles: int
    young: int
    problems: list[Problem]


def check_bundles(report: Report, force: bool) -> None:
    """Check the bundles: the store tells the digest of each object, unless it is read."""
    ui, backend = report.ui, report.backend
    parts = stores.parts(backend.store, backend.settings.repository)
    many = backend.catalog.read(bundle_rows.count, report.since) > _MANY
    count = min(_MOST, 2 * parallel.processes(ui)) if many else 1  # they wait for the store, too
    # Other processes may be killed: their folders are in this one.
    with overlays.scratch() as folder:
        bundles = _Bundles(report, folder)

        def found() -> Iterator[Examined]:
            with options.progress(ui, b'objects', b'parts', len(parts)) as bar:
                for examined in parallel.shared(count, bundles.under, parts):
                    yield examined
                    bar.increment()

        everything: Iterable[Examined] = found()
        if report.repair and not force:
            everything = list(everything)
            bundles.check_store(everything)
        for examined in everything:
            bundles.tell(examined)
    bundles.tell_removed()
    if report.full and report.since is None:
        bundles.tell_foreign()


class _Strange(Exception):
    """The store answers, but not when it is asked for this object. What it says is the text."""


class _Bundles:
    """Compares rows with objects, also in other processes, with temporary files below ``folder``;
    reports what was found, and repairs it."""

    def __init__(self, report: Report, folder: str) -> None:
        self._report = report
        self._ui = report.ui
        self._repo = report.repo
        self._backend = report.backend
        self._folder = folder
        now = report.backend.catalog.read(statements.now)
        epoch = report.backend.catalog.read(epochs.current)
        # Pushes are stopped while a database is restored.
        self._certain = max(now - YOUNG, epoch.began if epoch else 0)
        #: When the pushes have ended that may still record what they have stored.
        self._ended = now - upload.LONGEST_PUSH
        self._ids = unrecorded.Ids(report.backend)
        # A draft may be in several bundles whose objects are all lost.
        self._lost = drop.DryRun(set(), set())

    def under(self, prefix: str) -> Examined:
        """Examine the bundles whose keys begin with ``prefix``."""
        # Rows are read before objects: the object of a row is stored before it, so that a push
        # that is recorded meanwhile is not a problem.
        rows = self._backend.catalog.read(bundle_rows.under, prefix, self._report.since)
        sizes: dict[str, int] = {}
        orphans: list[Object] = []
        if self._report.since is None:
            objects = list(self._backend.store.objects(prefix))
            sizes.update((found.key, found.size) for found in objects)
            orphans = delete.without_row(self._backend, objects)
        old = [found for found in orphans if found.modified < self._certain]
        text = (
            b'no row points at it: run "hg admin::headless-rebuild", or, if the push failed, '
            b'"hg admin::headless-gc --grace 1d"'
        )
        problems = [
            Problem(b'orphan', hgcompat.to_bytes(found.key), text, found)
            for found in old
            if not self._is_public(found)
        ]
        for row in rows:
            problems += self._problems(row, sizes.get(row.key))
        return Examined(len(rows), len(orphans) - len(old), problems)

    def _problems(self, row: Bundle, size: int | None = None) -> Iterator[Problem]:
        """Yield what is wrong with a bundle. Its object has ``size``; None: the store is asked."""
        key = hgcompat.to_bytes(row.key)
        try:
            with overlays.scratch(self._folder) as folder:
                layer = self._layer(row, size, folder)
                missing = [base for base in row.bases if not has(self._repo, base)]
                for base in missing:
                    text = b'%s, which it builds on, is not in the repository' % hex(base)
                    yield Problem(b'base', key, text)
                if layer is not None and not missing:
                    yield from self._compare(row, layer, folder)
        except Corrupt as exc:
            yield Problem(b'object', key, hgcompat.to_bytes(str(exc)), row, isinstance(exc, Lost))
        except (_Strange, check.Unfit) as exc:
            yield Problem(b'object', key, hgcompat.to_bytes(str(exc)))

    def _layer(self, row: Bundle, size: int | None, folder: str) -> overlays.Layer | None:
        """Check an object; if all are to be read, return its content.

        Raise `errors.Corrupt` and `_Strange`.
        """
        store = self._backend.store
        try:
            check_object(store, row, size, self._report.full)
            return overlays.fetch(self._ui, store, row, folder) if self._report.full else None
        except (Temporary, Misconfigured) as exc:
            store.check()  # it is this object, and not the store
            raise _Strange(str(exc)) from exc

    def _compare(self, row: Bundle, layer: overlays.Layer, folder: str) -> Iterator[Problem]:
        key = hgcompat.to_bytes(row.key)
        rows = self._backend.catalog.read(consistency.facts_of_bundle, row.key)
        held = overlays.nodes(layer)
        if [changeset.node for changeset in rows] != held:
            # Dropping the bundle does not repair this: the object is intact.
            named = options.number(len(rows), 'changeset')
            text = b'its rows name %s, and not the %d that it has' % (named, len(held))
            yield Problem(b'bundle', key, text)
            return
        with check.misses(), overlays.laid(self._repo, [layer], folder) as overlay:
            for changeset in rows:
                there = check.of_changelog(overlay, changeset.node)
                yield from differences(changeset, there, key)
            bases = ancestry.bases(overlay.changelog, held)
        if ([row.head], sorted(row.bases)) != (held[-1:], bases):
            # By a link, clients would get the bundle without what it builds on.
            yield Problem(
                b'bundle', key, b'its row names another head, or other bases, than it has'
            )

    def _is_public(self, found: Object) -> bool:
        """Return whether an object without a row is public history that the repository has.

        After a restore such objects are left: what the log had lost is in another object by now.
        """
        try:
            return rebuild.rebuilt(self._ui, self._repo, self._backend, found, None) is None
        except HeadlessError:
            return False

    def check_store(self, everything: Sequence[Examined]) -> None:
        """Disable repair if many objects are missing: it may be the wrong store."""
        rows = sum(examined.bundles for examined in everything)
        missing = sum(each.is_lost for examined in everything for each in examined.problems)
        if missing > rows // 2 or missing > max(_FEW, rows // 10):
            self._report.repair = False
            self._ui.warn(
                b'%d of %d objects are not in the store: nothing is repaired '
                b'(is headless.store the right one? --force repairs)\n' % (missing, rows)
            )

    def tell(self, examined: Examined) -> None:
        self._report.bundles += examined.bundles
        self._report.young += examined.young
        self._report.has_orphans |= examined.young > 0
        for kind, item, text, subject, _is_lost in examined.problems:
            if isinstance(subject, Bundle):
                # It may have been dropped since its row was read.
                if self._backend.catalog.read(bundle_rows.with_row, [subject.key]):
                    lost = sorted(self._planned(subject, self._lost)[1].expired)
                    fix = functools.partial(self._drop, subject, text)
                    self._report.problem(kind, item, text, fix, lost)
            elif subject is not None:
                # What a push is still recording must not become a push of nobody.
                has_ended = subject.modified < self._ended
                again = functools.partial(self._rebuild, subject) if has_ended else None
                if not self._report.problem(kind, item, text, again):
                    is_of_log = rebuild.is_of_log(self._ui, self._backend, subject)
                    self._report.has_orphans |= not is_of_log
            else:
                self._report.problem(kind, item, text)

    def tell_removed(self) -> None:
        """Report drafts that were removed for good, and could come back."""
        unknown, unnoted = drop.compare_obliterated(self._backend)
        for node in sorted(unknown):
            self._report.problem(
                b'obliterated',
                hex(node),
                b'was removed for good, and the database does not know it: run '
                b'"hg admin::headless-rebuild"',
                functools.partial(drop.record_obliterated, self._backend, {node}),
            )
        for node in sorted(unnoted):
            self._report.problem(
                b'obliterated',
                hex(node),
                b'was removed for good, and the store has no note of it',
                functools.partial(drop.note_obliterated, self._backend, node),
            )

    def tell_foreign(self) -> None:
        """Report objects with the repository's prefix whose keys are not those of bundles."""
        name = self._backend.settings.repository
        for found in self._backend.store.objects(f'{name}/'):
            if stores.is_foreign(name, found.key):
                key = hgcompat.to_bytes(found.key)
                self._report.problem(b'foreign', key, b'is not the name of a bundle')

    def _drop(self, row: Bundle, text: bytes) -> None:
        """Drop the bundle. Drafts that no other bundle holds can then be pushed again."""
        with delete.required(self._backend) as deleter:
            if not any(problem.subject for problem in self._problems(row)):
                return  # the object is there again
            candidates, planned = self._planned(row)
            loss = drop_rows.Loss(options.operator(), text)
            drop.carry_out(self._repo, self._backend, deleter, candidates, planned, loss)
            options.tell_undeleted(self._ui, deleter)

    def _planned(
        self, row: Bundle, done: drop.DryRun | None = None
    ) -> tuple[list[drop_rows.Candidate], drop.Plan]:
        """Return the candidates and the plan for dropping a bundle, after those of ``done``."""
        holding = self._backend.catalog.read(drop_rows.holding, [row.head])
        candidates = [candidate for candidate in holding if candidate.bundle.key == row.key]
        chosen = {node for candidate in candidates for node in candidate.bundle.nodes}
        return candidates, drop.plan(self._repo, self._backend, candidates, chosen, done)

    def _rebuild(self, found: Object) -> bool:
        rebuilt = rebuild.rebuilt(self._ui, self._repo, self._backend, found, self._ids)
        return rebuilt is not None
