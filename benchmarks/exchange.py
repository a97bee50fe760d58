"""Pushes and pulls, one at a time: each operation for all variants before the next."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable

from drafts import commits
from helpers.world import Clone
from measuring import Used, client
from report import Figures
from variants import Variant

TRANSPORTS = ('http', 'ssh')
GROWTH = 3


class Round:
    """One round of all operations over one transport, in one order of the variants.

    Each method prepares the operation for all variants, and then runs it on each.
    """

    def __init__(
        self, figures: Figures, variants: Iterable[Variant], transport: str, count: bool
    ) -> None:
        self._figures = figures
        self._variants = list(variants)
        self._transport = transport
        self._count = count

    def run(self) -> None:
        heads = {v.name: commits(v.pusher, v.public)[0] for v in self._variants}
        self._each('push of 1', lambda v: self._push(v, heads[v.name]))
        for variant in self._variants:
            stack = commits(variant.pusher, heads[variant.name], GROWTH)
            variant.drafts += [heads[variant.name], *stack]
        self._each('growth by 3', lambda v: self._push(v, v.drafts[-1]))
        self._each('identify -r', self._identify)
        self._each('pull -r', self._pull_draft)
        for variant in self._variants:
            variant.follower.hg('pull', '-q', str(variant.server.root))
        self._each('pull', self._pull)
        self._each('clone -r', self._clone)

    def _each(self, operation: str, run: Callable[[Variant], Used]) -> None:
        for variant in self._variants:
            used = run(variant)
            self._figures.add(operation, self._transport, variant.name, used, self._count)

    def _client(self, variant: Variant, clone: Clone, *args: str) -> Used:
        return client(variant.server, self._transport, args, clone.root, self._count)

    def _push(self, variant: Variant, node: str) -> Used:
        # A sibling of what is there is a new head on an ordinary server.
        return self._client(variant, variant.pusher, 'push', '-qf', '-r', node, 'URL')

    def _identify(self, variant: Variant) -> Used:
        args = 'identify', '-r', variant.drafts[-1], 'URL'
        folder = variant.server.world.folder
        return client(variant.server, self._transport, args, folder, self._count)

    def _pull_draft(self, variant: Variant) -> Used:
        return self._client(
            variant, variant.puller, 'pull', '-q', '-r', variant.drafts[-1], 'URL'
        )

    def _pull(self, variant: Variant) -> Used:
        return self._client(variant, variant.follower, 'pull', '-q', 'URL')

    def _clone(self, variant: Variant) -> Used:
        folder = variant.server.world.folder
        args = 'clone', '-qU', '-r', variant.small_draft, 'URL', 'cloned'
        used = client(variant.small, self._transport, args, folder, self._count)
        shutil.rmtree(folder / 'cloned')
        return used


def exchange(figures: Figures, variants: list[Variant], rounds: int) -> None:
    """The rounds; one before them warms up, and is where the bytes are counted."""
    for number in range(rounds + 1):
        for transport in TRANSPORTS:
            order = variants if number % 2 else variants[::-1]
            Round(figures, order, transport, count=not number).run()


def check(variant: Variant) -> None:
    """What a push may not do: publish the client's drafts; and ours has no head of them."""
    published = variant.pusher.log(f'children({variant.public}):: and public()')
    assert not published, f'{variant.name}: pushed drafts became public: {published}'
    if variant.name in ('ours', 'stored'):
        assert variant.server.node('tip') == variant.public, 'a draft is in the repository'
