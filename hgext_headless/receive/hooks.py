"""The site's hooks of a push, in stock's order and with its variables (``hg help
config.hooks``).

Mercurial runs the hooks of a transaction (``pretxnopen``, ``pretxnclose``, ``txnclose``, and
those of its phases and bookmarks) where the repository itself changes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial import hook
from mercurial.node import hex
from mercurial.utils import hashutil

from .. import hgcompat
from .incoming import Incoming

#: The extension's own hook, as ``hg config hooks`` shows it: see `flow.refuse_outside`.
SPLIT = b'pretxnchangegroup.headless'
PRIORITY = -1_000_000


class Hooks:
    """The hooks of one push.

    Python hooks get as ``repo`` the repository at first, and then the quarantine's overlay.
    Hooks that may reject the push raise `error.HookAbort`.
    """

    def __init__(self, push: Incoming) -> None:
        self._push = push
        self._repo = push.repo
        self._args: dict[str, Any] = {
            hgcompat.to_str(name) if isinstance(name, bytes) else name: value
            for name, value in push.hookargs.items()
        }
        self._args.update(
            source=push.source,
            url=push.url,
            bundle2=b'1',
            txnname=push.source,
            txnid=b'TXN:' + hex(hashutil.sha1(b'%r#%r' % (random.random(), time.time())).digest()),
        )

    def _run(self, name: bytes, throw: bool, **args: Any) -> None:
        with self._push.stages.stage('hooks'):
            hook.hook(self._push.ui, self._repo, name, throw=throw, **{**self._args, **args})

    def before(self) -> None:
        """Run ``prechangegroup``."""
        self._run(b'prechangegroup', True)

    def enter_quarantine(self, overlay: Any, quarantine: bytes, nodes: Sequence[bytes]) -> None:
        """Make the changesets visible to the hooks from now on.

        ``quarantine`` is the variable by which an ``hg`` that a hook starts finds them.
        """
        self._repo = overlay
        self._args.update(node=hex(nodes[0]), node_last=hex(nodes[-1]))
        # Mercurial passes it to shell hooks as `quarantine.VARIABLE`.
        self._args['headless_quarantine'] = quarantine

    def check(self) -> None:
        """Run the site's ``pretxnchangegroup``.

        `SPLIT` is left out: it refuses what did not come through the quarantine.
        """
        with self._push.ui.configoverride({(b'hooks', SPLIT): b''}, b'headless'):
            self._run(b'pretxnchangegroup', True)

    def before_keys(self) -> None:
        """Run ``prepushkey`` for each bookmark and each key."""
        for args in self._keys():
            self._run(b'prepushkey', True, **args)

    def after_keys(self) -> None:
        """Run ``pushkey`` for each bookmark and each key."""
        for args in self._keys():
            self._run(b'pushkey', False, **args)

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

    def after(self, nodes: Sequence[bytes]) -> None:
        """Run ``changegroup`` and ``incoming`` for ``nodes``, which are new to this server."""
        if not nodes:
            return
        self._args.update(node=hex(nodes[0]), node_last=hex(nodes[-1]))
        self._run(b'changegroup', False)
        del self._args['node_last']
        for node in nodes:
            self._run(b'incoming', False, node=hex(node))
