"""Share work among several processes, by Mercurial's ``worker`` (``hg help config.worker``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from mercurial import worker

from ..errors import HeadlessError

Item = TypeVar('Item')
Result = TypeVar('Result')


def shared(
    ui: Any,
    seconds: float,
    work: Callable[[Sequence[Item]], Iterator[Result]],
    items: Sequence[Item],
) -> Iterator[Result]:
    """Yield what ``work`` yields for shares of ``items``, in no particular order.

    Processes are forked if that pays for work of ``seconds`` in all. The caller must not have
    started a thread before the first result, and ``work`` must use no connection of its parent:
    a `Backend` that it creates has its own. Raise what ``work`` raises.
    """

    def caught(share: Sequence[Item]) -> Iterator[tuple[Exception | None, Result | None]]:
        try:
            for result in work(share):
                yield None, result
        except (HeadlessError, OSError) as exc:
            yield exc, None
        except Exception as exc:  # it may not survive the way to the parent
            yield RuntimeError(repr(exc)), None

    each = seconds / max(1, len(items))
    for problem, result in worker.worker(ui, each, caught, (), items, threadsafe=False):
        if problem is not None:
            raise problem
        yield result
