"""Spreads independent work over processes that end with whoever started them, with progress."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from typing import Any, TypeVar

Progress = Callable[[int, int], None]
"""Is told (done, in all)."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def processes(jobs: int) -> int:
    """How many processes `jobs` stands for: 0 is one a core. Raises ValueError below 0."""
    if jobs < 0:
        raise ValueError(f"jobs is {jobs}: it must be 0 (one a core) or more")
    return jobs or len(os.sched_getaffinity(0))


def spread(
    work: Callable[[Item], Result], items: Sequence[Item], *, jobs: int = 0, progress: Progress | None = None
) -> list[Result]:
    """`work` of every item, in the items' order.

    work: a function that pickles, where there is more than one process. jobs: processes, 0 for one a core; one job
    (or one item) runs right here. An exception in `work` ends it all and is raised here.
    """
    count = min(processes(jobs), len(items))
    tell = progress or (lambda _done, _total: None)
    out: list[Result] = []
    if count <= 1:
        for item in items:
            out.append(work(item))
            tell(len(out), len(items))
        return out
    size = max(1, min(16, len(items) // (8 * count)))
    parts = [items[i : i + size] for i in range(0, len(items), size)]
    found: dict[int, list[Result]] = {}
    done = 0
    for number, results in as_done(partial(_all, work), parts, count):
        found[number] = results
        done += len(results)
        tell(done, len(items))
    return [result for number in range(len(parts)) for result in found[number]]


def as_done(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    count: int,
    begin: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[tuple[int, Result]]:
    """(number, result) of each item as it is done, from `count` processes, each of which first calls `begin`.

    An exception in `work` is raised here; it and Ctrl-C end the processes at once. Raises ChildProcessError where one
    of them ended by itself.
    """
    others = set(active_children())
    # spawn: forked children of a process with threads (progress bar, BLAS) may hang.
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin, initargs=(begin, arguments)) as pool:
        try:
            with _ctrl_c_held():
                numbers = {pool.submit(work, item): number for number, item in enumerate(items)}
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except BrokenExecutor:
            raise ChildProcessError(
                "a process ended without a word, which is mostly for want of memory: try fewer with --jobs"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(active_children()) - others:
                child.terminate()
            raise


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Holds a Ctrl-C back while processes are being started, which must neither be left half told nor be hit.

    The mask is for the children, which inherit it, until they know what to do with a Ctrl-C; it does not keep the
    signal from this process, where another thread (a progress bar's) may take it, so the handler waits as well.
    """
    held: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda number, _frame: held.append(number)) if main else None
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if main:
            signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin:
        begin(*arguments)


def _end_with_parent() -> None:
    # A pool's processes wait for work on a pipe that they themselves hold open: they would outlive a killed parent.
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _all(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [work(item) for item in items]
