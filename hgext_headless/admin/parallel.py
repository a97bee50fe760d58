"""Share work among several processes of this machine."""

from __future__ import annotations

import collections
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, process
from typing import Any, TypeVar

from mercurial import worker

from .. import lazy
from ..errors import Temporary

Item = TypeVar('Item')
Result = TypeVar('Result')

#: Results of one process that may wait to be used.
_AHEAD = 2


def processes(ui: Any) -> int:
    """Return the number of processes to use (``hg help config.worker``); 1: only this one."""
    if not ui.configbool(b'worker', b'enabled'):
        return 1
    return max(1, ui.configint(b'worker', b'numcpus') or worker.countcpus())


def shared(count: int, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``work(item)`` for each of ``items``, in their order, from ``count`` processes.

    Items and results are pickled; ``work`` is not. It must use no connection of this process: a
    `Backend` that it creates has its own. If ``count`` is 1, it runs in this process.

    Raise what ``work`` raises, and `Temporary` if a process is killed. One may be killed at any
    time, so folders that ``work`` makes have to be in a folder that the caller removes.
    """
    if count == 1:
        yield from map(work, items)
        return
    lazy.settle()  # the pool has a thread
    waiting: collections.deque[Future[Result]] = collections.deque()
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context('fork'), initializer=_begin, initargs=(work,)
    )
    try:
        for item in items:
            waiting.append(pool.submit(_work, item))
            if len(waiting) == _AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except process.BrokenProcessPool as exc:
        raise Temporary('a process that shared the work has ended, or was killed') from exc
    finally:
        pool.shutdown(cancel_futures=True)


#: What the processes of a pool do: a fork takes it over, where a queue would pickle it.
_shared_work: Callable[[Any], Any]


def _begin(work: Callable[[Any], Any]) -> None:
    """Prepare a process of the pool."""
    global _shared_work
    _shared_work = work
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # Mercurial's handlers raise
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended: else it would wait for work for ever."""
    parent: Any = multiprocessing.parent_process()
    os.read(parent.sentinel, 1)
    os._exit(1)


def _work(item: Any) -> Any:
    return _shared_work(item)
