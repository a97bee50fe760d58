"""The site's hooks of a push, in stock's order and with its variables (``hg help config.hooks``).

Those of a transaction (``pretxnopen``, ``pretxnclose``, ``txnclose`` and what is about
phases and bookmarks in it) run where the repository itself changes, by Mercurial.
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

#: The hook of the split, as it stands in ``hg config hooks``.
SPLIT = b'pretxnchangegroup.headless'
PRIORITY = -1_000_000


class Hooks:
    """The hooks of one push; Python hooks get ``repo``: first the repository, then the
    quarantine's overlay. Those that may reject it raise `error.HookAbort`."""

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
        """``prechangegroup``."""
        self._run(b'prechangegroup', True)

    def over(self, overlay: Any, quarantine: bytes, nodes: Sequence[bytes]) -> None:
        """The changesets can be seen now; ``quarantine`` is a variable by which an hg finds
        them that a hook starts."""
        self._repo = overlay
        self._args.update(node=hex(nodes[0]), node_last=hex(nodes[-1]))
        # The name that `quarantine.VARIABLE` has for a Python hook.
        self._args['headless_quarantine'] = quarantine

    def check(self) -> None:
        """``pretxnchangegroup``: the site's. The one of `SPLIT` refuses what did not come
        this way."""
        with self._push.ui.configoverride({(b'hooks', SPLIT): b''}, b'headless'):
            self._run(b'pretxnchangegroup', True)

    def before_keys(self) -> None:
        """``prepushkey``, for each bookmark and each key."""
        for args in self._keys():
            self._run(b'prepushkey', True, **args)

    def after_keys(self) -> None:
        """``pushkey``, likewise."""
        for args in self._keys():
            self._run(b'pushkey', False, **args)

    def _keys(self) -> Iterator[dict[str, bytes]]:
        push = self._push
        yield from push.keys
        if not push.ui.configbool(b'server', b'bookmarks-pushkey-compat'):
            return
        own = hgcompat.bookmarks(push.repo)
        by_key = {args['key'] for args in push.keys if args['namespace'] == b'bookmarks'}
        for name, node in push.bookmarks:
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
        """``changegroup`` and ``incoming``, for what is new to this server."""
        if not nodes:
            return
        self._args.update(node=hex(nodes[0]), node_last=hex(nodes[-1]))
        self._run(b'changegroup', False)
        del self._args['node_last']
        for node in nodes:
            self._run(b'incoming', False, node=hex(node))
