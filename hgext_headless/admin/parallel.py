"""Share work among several processes, by Mercurial's ``worker`` (``hg help config.worker``)."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from mercurial import error, worker

from .. import hgcompat
from ..errors import HeadlessError, Temporary

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
    a `Backend` that it creates has its own. Raise what ``work`` raises, and `Temporary` if a
    process ends before its work does. One may be killed at any time, so folders that ``work``
    makes have to be in a folder that the caller removes.
    """
    parent = os.getpid()

    def caught(share: Sequence[Item]) -> Iterator[tuple[Exception | None, Result | None]]:
        if os.getpid() != parent:
            # Mercurial's handler raises: the file in which results wait for a full pipe would
            # then be closed, and wait again for a parent that waits for this process.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            for result in work(share):
                yield None, result
        except (HeadlessError, OSError) as exc:
            yield exc, None
        except Exception as exc:  # it may not survive the way to the parent
            yield RuntimeError(repr(exc)), None

    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True

    def note_interrupts() -> None:
        # Mercurial ignores them here: after a Ctrl-C, which all processes get, it would only
        # see that others end.
        signal.signal(signal.SIGINT, interrupt)

    each = seconds / max(1, len(items))
    try:
        with hgcompat.killed_workers_fail():
            for problem, result in worker.worker(
                ui, each, caught, (), items, threadsafe=False, prefork=note_interrupts
            ):
                if interrupted:
                    raise KeyboardInterrupt
                if problem is not None:
                    raise problem
                yield result
    except (error.WorkerError, pickle.UnpicklingError) as exc:
        if interrupted:
            raise KeyboardInterrupt from exc
        raise Temporary('a process that shared the work has ended, or was killed') from exc
