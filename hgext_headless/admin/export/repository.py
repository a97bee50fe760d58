"""Export to an ordinary repository."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial import changegroup, exchange, hg, util

from ... import config, hgcompat, pushlog2
from ...backend import Backend
from ...bundles import changegroups, overlay
from ...errors import Corrupt, Refused
from ...model import Bundle, Conflict, PastPush

# Hooks that are disabled: they are about exchange, and these changesets were pushed long ago.
_SILENCED = (
    b'prechangegroup',
    b'pretxnchangegroup',
    b'changegroup',
    b'incoming',
    b'preoutgoing',
    b'outgoing',
)


class RepositoryTarget:
    """A `target.Target`: a repository without the extensions' settings."""

    def __init__(self, ui: Any, repo: Any, backend: Backend, path: bytes) -> None:
        """Open the repository. Raise `errors.Refused` if it is headless."""
        self._source = repo
        self._backend = backend
        other = hg.repository(repo.baseui.copy(), path)
        if config.participates(other):
            raise Refused(f'{hgcompat.escaped(path)} is a headless repository itself')
        for name, _command in list(other.ui.configitems(b'hooks')):
            if name.split(b'.')[0] in _SILENCED:
                other.ui.setconfig(b'hooks', name, b'', b'headless')
        overlay.silence_outgoing_hooks(repo.ui)
        other.ui.quiet = True
        self._repo = other.unfiltered()
        self.pushlog = hgcompat.to_str(other.vfs.join(b'pushlog2.db'))

    def begin(self) -> None:
        """Pull public history. Raise Mercurial's error if the repositories are unrelated."""
        if self._repo.svfs.exists(b'journal'):
            # The last export may have been killed in a transaction.
            self._repo.recover()
        exchange.pull(self._repo, self._source.peer(), heads=self._source.heads())

    def has(self, bundle: Bundle) -> bool:
        return self._repo.changelog.hasnode(bundle.head)

    def take(self, bundles: Sequence[Bundle]) -> Iterator[tuple[Bundle, str]]:
        folder = tempfile.mkdtemp(prefix='hg-headless-')
        try:
            layers = []
            for bundle in bundles:
                try:
                    self._check_bases(bundle)
                    layers.append(
                        overlay.fetch(self._source.ui, self._backend.store, bundle, folder)
                    )
                except Corrupt as exc:
                    yield bundle, str(exc)
            self._apply(layers)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _check_bases(self, bundle: Bundle) -> None:
        for base in bundle.bases:
            if not self._repo.changelog.hasnode(base):
                raise Corrupt(
                    f'draft {bundle.head.hex()} builds on {base.hex()}, which is not in '
                    'this repository'
                )

    def _apply(self, layers: Sequence[overlay.Layer]) -> None:
        """Add changegroups in one transaction, as ``hg unbundle`` does."""
        if not layers:
            return
        with contextlib.ExitStack() as stack:
            unpackers = [stack.enter_context(overlay.unpacked(layer)) for layer in layers]
            chunks = util.chunkbuffer(changegroups.spliced(unpackers))
            stack.enter_context(self._repo.lock())
            transaction = stack.enter_context(self._repo.transaction(b'headless-export'))
            changegroup.getunbundler(b'02', chunks, None).apply(
                self._repo, transaction, b'unbundle', b'headless-export'
            )

    def set_bookmarks(self, bookmarks: Sequence[tuple[bytes, bytes]]) -> None:
        has_node = self._repo.changelog.hasnode
        changes = [(name, node) for name, node in bookmarks if has_node(node)]
        if changes:
            with self._repo.wlock(), self._repo.lock():
                with self._repo.transaction(b'headless-export') as transaction:
                    self._repo._bookmarks.applychanges(self._repo, transaction, changes)

    def add_pushes(
        self, file: pushlog2.WritableFile, pushes: Sequence[PastPush]
    ) -> list[Conflict]:
        return file.add(pushes, self._repo.changelog.index.get_rev)
