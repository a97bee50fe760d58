"""A clone with public history only, of a repository that has drafts."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any

from mercurial import config as hgconfig, error, exchange, localrepo, lock as locks, vfs as vfsmod

from .. import config, hgcompat, place as places, requirement
from ..backend import Backend, attach
from ..errors import Refused, Temporary, file_failed

_EXTENSIONS = (b'hgext_headless.push', b'hgext_headless.web')


class PublicClone:
    """The clone of ``repo`` at ``target``, which may exist from an earlier run.

    ``repo`` is not written to. ``found`` tells whether the clone existed. ``opened`` is the
    clone, after `prepare`. If ``quiet``, nothing is printed. Methods raise `errors.Refused`,
    and what `errors.file_failed` says.
    """

    def __init__(self, repo: Any, backend: Backend, target: bytes, quiet: bool) -> None:
        self._repo = repo
        self._settings = backend.settings
        self._target = os.path.abspath(target)
        self._quiet = quiet
        self._source = self._stock(repo.root)
        self.opened: Any = None
        self.found = self._find()

    def _find(self) -> bool:
        """Return whether the clone exists already."""
        name = hgcompat.escaped(self._target)
        if not os.path.isdir(os.path.dirname(self._target)):
            raise Refused(f'{name}: the folder to make it in does not exist')
        if os.path.exists(self._target) and not os.path.isdir(self._target):
            raise Refused(f'{name} exists and is not a folder')
        is_empty = os.path.isdir(self._target) and not os.listdir(self._target)
        if is_empty or not os.path.lexists(self._target):
            config.check_serving(self._settings)
            return False
        try:
            clone = self._stock(self._target)
        except error.RequirementError:
            raise
        except error.RepoError as exc:
            raise Refused(f'{name} exists and is not a repository') from exc
        if clone.root == self._repo.root:
            raise Refused(f'{name} is this repository itself')
        if clone.revs(b'first(not public())'):
            raise Refused(f'{name} exists and has drafts of its own')
        changelog = clone.unfiltered().changelog
        if len(changelog) and not self._source.changelog.hasnode(changelog.node(0)):
            raise Refused(f'{name} exists and is an unrelated repository')
        own = hgconfig.config()
        with contextlib.suppress(OSError):  # it need not have one
            own.read(os.path.join(self._target, b'.hg', b'hgrc'))
        called = hgcompat.to_str(own.get(config.SECTION, b'repository') or b'')
        if called and called != self._settings.repository:
            raise Refused(f'{name} is the headless repository "{called}"')
        if not config.participates(self._configured()):
            raise Refused(f'{name} exists and has no [headless] settings')
        self.opened = clone
        return True

    def _configured(self) -> Any:
        return localrepo.instance(self._repo.baseui, self._target, False)

    def backend(self) -> Backend:
        """Return the clone's settings, database and store: its drafts go there."""
        return attach(self._configured())

    def prepare(self) -> None:
        """Create the clone, which gets its name when it is complete, or update it."""
        if self.found:
            self.pull()
            requirement.change(self.opened, present=True)
            return
        parent, name = os.path.split(self._target)
        hidden = b'.%s.headless-import' % name
        temporary = os.path.join(parent, hidden)
        try:
            with locks.lock(vfsmod.vfs(parent), hidden + b'.lock', timeout=0):
                shutil.rmtree(temporary, ignore_errors=True)
                self.opened = self._stock(temporary, create=True)
                self.pull()
                self._write_settings(os.path.join(temporary, b'.hg', b'hgrc'))
                requirement.change(self.opened, present=True)
                os.rename(temporary, self._target)
        except error.LockHeld as exc:
            raise Temporary('another import is making the clone') from exc
        except OSError as exc:
            raise file_failed('the clone cannot be made', exc, os.fsdecode(parent)) from exc
        self.opened = self._stock(self._target)

    def pull(self) -> None:
        """Pull public history as it is now, with its bookmarks."""
        source, clone = self._source.unfiltered(), self.opened.unfiltered()
        if clone.svfs.exists(b'journal'):
            clone.recover()  # a run was killed
        source.invalidateall()
        new_bookmarks = {
            name: node
            for name, node in hgcompat.bookmarks(source).items()
            if name not in hgcompat.bookmarks(clone) and not source[node].mutable()
        }
        heads = [n for n in places.public_heads(source) if not clone.changelog.hasnode(n)]
        if not heads and not new_bookmarks:
            return
        peer = source.peer()
        try:
            exchange.pull(
                clone,
                peer,
                heads=[*heads, *new_bookmarks.values()],
                bookmarks=sorted(new_bookmarks),
                streamclonerequested=False,
            )
        finally:
            peer.close()

    def _stock(self, path: bytes, create: bool = False) -> Any:
        """Open a repository without the extensions, and without hooks, which saw its history."""
        repo = localrepo.instance(self._repo.baseui, path, create)
        for section in (config.SECTION, b'hooks'):
            for name, _value in list(repo.ui.configitems(section)):
                repo.ui.setconfig(section, name, b'', b'headless')
        if self._quiet:
            repo.ui.setconfig(b'ui', b'quiet', True, b'headless')
        return repo

    def _write_settings(self, path: bytes) -> None:
        """Write all settings that are in effect here, so that the clone can be served at once."""
        items = dict(self._repo.ui.configitems(config.SECTION))
        items[b'repository'] = hgcompat.to_bytes(self._settings.repository)
        lines = [b'[extensions]']
        for extension in _EXTENSIONS:
            lines += [b'%s =' % extension, b'%s:required = yes' % extension]
        lines.append(b'[%s]' % config.SECTION)
        lines += [
            b'%s = %s' % (name, value.replace(b'\n', b'\n  '))
            for name, value in sorted(items.items())
        ]
        # They may contain a password.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, 'wb') as out:
            out.write(b'\n'.join(lines) + b'\n')
