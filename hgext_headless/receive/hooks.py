"""The site's hooks of a push, in stock's order and with its variables (``hg help
config.hooks``).

A push of drafts opens no transaction in the repository. So the hooks of a transaction are run
here for each push, once, and not where the repository itself changes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pkgutil
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial import bookmarks, error, hook, phases, pycompat, util
from mercurial.node import hex
from mercurial.utils import hashutil

from .. import hgcompat
from ..bundles import overlay as overlays
from ..errors import HeadlessError, Misconfigured, Temporary
from ..replication import append
from .bookmarks import Plan
from .divide import Divided, DividedMarkers
from .incoming import Incoming
from .quarantine import Quarantine

#: The extension's own hook, as ``hg config hooks`` shows it: see `flow.refuse_outside`.
GUARD = b'pretxnchangegroup.headless'
PRIORITY = -1_000_000
#: The hooks that are run here, and disabled where the repository changes.
NAMES = (
    b'pretxnopen',
    b'prechangegroup',
    b'pretxnchangegroup',
    b'pretxnclose-bookmark',
    b'pretxnclose-phase',
    b'pretxnclose',
    b'txnclose-bookmark',
    b'txnclose-phase',
    b'txnclose',
    b'txnabort',
    b'changegroup',
    b'incoming',
)
#: All that a push runs.
OF_PUSHES = (*NAMES, b'prepushkey', b'pushkey')
#: The extension's own ones: they are not run for what has passed through the quarantine.
OWN = (GUARD, *append.HOOKS)
_HOOKS = b'hooks'

_Args = dict[str, Any]


class Hooks:
    """The hooks of one push.

    Python hooks get as ``repo`` the repository at first, and then the quarantine's overlay.
    Hooks that may reject the push raise `error.HookAbort`; `Misconfigured` and `Temporary` if
    one raises another error.

    A push that changes nothing has no hooks: with stock, it would not be sent.
    """

    def __init__(self, push: Incoming) -> None:
        self._push = push
        self._repo = push.repo
        self._is_needed = bool(push.new or push.public_heads or push.bookmarks or push.markers)
        # What a transaction of Mercurial knows, and tells hooks (`transaction.changes`).
        self._changes: dict[bytes, Any] = {
            b'origrepolen': len(push.repo),
            b'obsmarkers': set(),
            b'phases': [],
            b'bookmarks': {},
        }
        unique = hashutil.sha1(b'%r#%r' % (random.random(), time.time())).digest()
        self._transaction: _Args = {'txnname': push.source, 'txnid': b'TXN:' + hex(unique)}
        self._args: _Args = {
            **pycompat.strkwargs(push.hookargs),
            **self._transaction,
            'source': push.source,
            'url': push.url,
            'changes': self._changes,
        }
        #: What the transaction has moved, and only its own hooks are told.
        self._moved: _Args = {}
        self._phases: list[tuple[bytes, int | None, int]] = []
        self._told: list[_Args] = []
        self._applied: frozenset[bytes] = frozenset()
        self._is_closed = False

    def _run(self, name: bytes, throw: bool, args: _Args) -> None:
        ui = self._push.ui
        silenced = {(_HOOKS, own): b'' for own in OWN}
        with self._push.stages.stage('hooks'), ui.configoverride(silenced, b'headless'):
            with _same_ui(self._repo, ui):
                try:
                    hook.hook(ui, self._repo, name, throw=throw, **args)
                except error.Abort as exc:
                    if throw:
                        raise
                    # It cannot be loaded, and the push is stored.
                    ui.warn(b'warning: %s hook failed: %s\n' % (name, exc.message))
                except Exception as exc:
                    ui.traceback()
                    failure = _failed(name, exc)
                    if throw:
                        raise failure from exc
                    ui.warn(b'warning: %s\n' % hgcompat.to_bytes(str(failure)))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run ``pretxnopen``, and ``prechangegroup`` if anything is new.

        Run ``txnabort`` if the push fails. If its public part is in the repository by then, it
        stays, and what tells of it is run.
        """
        if self._is_needed:
            self._run(b'pretxnopen', True, self._transaction)
        try:
            if self._push.new:
                self._run(b'prechangegroup', True, self._args)
            yield
        except BaseException:
            self._repo = self._push.repo
            if self._applied and not self._is_closed:
                self._phases = [move for move in self._phases if move[0] in self._applied]
                self._tell(self._applied)
            elif self._is_needed and not self._is_closed:
                self._run(b'txnabort', False, {**self._args, **self._moved})
            raise

    def enter_quarantine(self, quarantine: Quarantine) -> None:
        """Make the push visible to hooks from now on; run ``pretxnchangegroup``."""
        self._repo = overlay = quarantine.overlay
        if overlay is not self._push.repo.unfiltered() and _has_python_hooks(self._push.ui):
            overlays.set_up(overlay, self._push.repo)
        if quarantine.url() is not None:
            # Mercurial passes it to shell hooks as `quarantine.VARIABLE`.
            self._args['headless_quarantine'] = quarantine.url()
        if quarantine.new:
            self._changes[b'origrepolen'] = len(overlay) - len(quarantine.new)
            self._name_new(quarantine.new)
            self._run(b'pretxnchangegroup', True, self._args)

    def _name_new(self, nodes: Sequence[bytes]) -> None:
        for name in ('node', 'node_last'):
            self._args.pop(name, None)
        if nodes:
            self._args.update(node=hex(nodes[0]), node_last=hex(nodes[-1]))

    def before_close(self, divided: Divided, plan: Plan, markers: DividedMarkers) -> None:
        """Run ``prepushkey`` for each bookmark and each key, then all ``pretxnclose``."""
        self._note_phases(divided)
        self._told = [{**self._args, **self._moved, **args} for args in self._keys()]
        for told in self._told:
            self._run(b'prepushkey', True, told)
        self._changes[b'bookmarks'].update(plan.changed)
        if plan.changed:
            self._moved['bookmark_moved'] = b'1'
        # Some of them may be known.
        self._note_markers(len({*self._push.markers, *markers.applied}))
        if self._is_needed:
            self._run_transaction(b'pretxnclose', True)

    def _note_phases(self, divided: Divided) -> None:
        """Note the phases that a transaction would have changed."""
        rev = self._repo.changelog.rev
        new, public = set(self._push.new), set(divided.public)
        for node in sorted(new | public, key=rev):
            old = None if node in new else phases.draft
            now = phases.public if node in public else phases.draft
            self._phases.append((node, old, now))
            self._changes[b'phases'].append((range(rev(node), rev(node) + 1), (old, now)))
        if public:
            overlays.publish(self._repo, divided.public_heads)
            # As `quarantine.VARIABLE`, for an hg that a hook starts.
            self._moved['headless_public'] = b' '.join(map(hex, divided.public_heads))
        # As with stock, a draft above a draft moves no root.
        if public or new.intersection(divided.draft_roots):
            self._moved['phases_moved'] = b'1'

    def _note_markers(self, number: int) -> None:
        self._changes[b'obsmarkers'].update(self._push.markers)
        if number:
            self._moved['new_obsmarkers'] = b'%d' % number

    def _run_transaction(self, name: bytes, throw: bool) -> None:
        """Run what `localrepo.transaction` runs before it closes, or after."""
        ui, changes = self._push.ui, self._changes
        args = {**self._args, **self._moved}
        if hook.hashook(ui, name + b'-bookmark'):
            for mark, (old, new) in sorted(changes[b'bookmarks'].items()):
                told = bookmarks.preparehookargs(mark, old, new)
                self._run(name + b'-bookmark', throw, {**args, **pycompat.strkwargs(told)})
        if hook.hashook(ui, name + b'-phase'):
            for node, before, now in self._phases:
                told = phases.preparehookargs(hex(node), before, now)
                self._run(name + b'-phase', throw, {**args, **pycompat.strkwargs(told)})
        self._run(name, throw, args)

    def applied(self, public: Sequence[bytes]) -> None:
        """Note that changesets have become public in the repository."""
        self._applied = frozenset(public)

    def _keys(self) -> Iterator[dict[str, bytes]]:
        push = self._push
        yield from push.keys
        if not push.ui.configbool(b'server', b'bookmarks-pushkey-compat'):
            return
        own = hgcompat.bookmarks(push.repo)
        by_key = {args['key'] for args in push.keys if args['namespace'] == b'bookmarks'}
        for name, node in push.bookmarks.items():
            if name not in by_key:
                old = push.expected.get(name, (own.get(name),))[0]
                yield {
                    'pushkeycompat': b'1',
                    'namespace': b'bookmarks',
                    'key': name,
                    'old': hex(old or b''),
                    'new': hex(node or b''),
                }

    def after(self, nodes: Sequence[bytes], markers: int) -> None:
        """Run what tells of a push that is stored.

        Of its changesets, ``nodes`` were new, and ``markers`` is the number of new markers.
        """
        self._is_closed = True
        for name in ('new_obsmarkers', 'headless_public'):
            self._moved.pop(name, None)
        self._note_markers(markers)
        for told in self._told:
            self._run(b'pushkey', False, told)
        self._tell(frozenset(nodes))

    def _tell(self, nodes: frozenset[bytes]) -> None:
        told = [node for node in self._push.new if node in nodes]
        self._name_new(told)
        if self._is_needed:
            self._run_transaction(b'txnclose', False)
        if told:
            self._run(b'changegroup', False, self._args)
            del self._args['node_last']
            if hook.hashook(self._push.ui, b'incoming'):
                for node in told:
                    self._run(b'incoming', False, {**self._args, 'node': hex(node)})


def _failed(name: bytes, exc: Exception) -> HeadlessError:
    text = f'a {hgcompat.to_str(name)} hook raised {type(exc).__name__}: {exc}'
    waits = isinstance(exc, OSError) and exc.errno not in (errno.EACCES, errno.ENOENT, errno.EPERM)
    return Temporary(text) if waits else Misconfigured(text)


def is_python(command: Any) -> bool:
    """Return whether a hook is in Python, and not a shell's command."""
    return callable(command) or command.startswith(b'python:')


def load(repo: Any, name: bytes, command: Any) -> None:
    """Load a hook that is in Python, as Mercurial does in each push; raise what that raises."""
    if callable(command):
        return
    path, _colon, called = command[len(b'python:') :].strip().rpartition(b':')
    function = hgcompat.to_str(called)
    if path:
        path = os.path.join(repo.root, util.expandpath(path))
        getattr(hgcompat.load_path(path, 'hghook.' + hgcompat.to_str(name)), function)
        return
    try:
        pkgutil.resolve_name(function)
    except ImportError:
        with contextlib.suppress(ImportError):
            pkgutil.resolve_name(f'hgext_{function}')
            return
        raise


def _has_python_hooks(ui: Any) -> bool:
    return any(
        is_python(command) and name.split(b'.')[0] in OF_PUSHES
        for name, command in ui.configitems(_HOOKS)
        if name not in OWN
    )


@contextlib.contextmanager
def _same_ui(repo: Any, ui: Any) -> Iterator[None]:
    """Let ``repo`` have ``ui`` as its own: what a hook writes to ``repo.ui`` goes to the client."""
    repo = repo.unfiltered()
    own, repo.ui = repo.ui, ui
    try:
        yield
    finally:
        repo.ui = own
