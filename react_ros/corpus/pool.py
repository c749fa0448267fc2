"""Distributes independent work over processes, with progress; the processes end with their parent."""

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
"""Called with (items done, items in all)."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def processes(jobs: int) -> int:
    """The number of processes that `jobs` stands for: 0 is one per core. Raises ValueError below 0."""
    if jobs < 0:
        raise ValueError(f"jobs is {jobs}: it must be 0 (one a core) or more")
    return jobs or len(os.sched_getaffinity(0))


def spread(
    work: Callable[[Item], Result], items: Sequence[Item], *, jobs: int = 0, progress: Progress | None = None
) -> list[Result]:
    """The result of `work` for every item, in the items' order.

    work: picklable, unless there is one process only. jobs: processes, 0 for one per core; one job (or one item) runs
    in this process. The first exception in `work` cancels the rest and is raised here.
    """
    count = min(processes(jobs), len(items))
    report = progress or (lambda _done, _total: None)
    out: list[Result] = []
    if count <= 1:
        for item in items:
            out.append(work(item))
            report(len(out), len(items))
        return out
    size = max(1, min(16, len(items) // (8 * count)))
    parts = [items[i : i + size] for i in range(0, len(items), size)]
    found: dict[int, list[Result]] = {}
    done = 0
    for number, results in as_done(partial(_all, work), parts, count):
        found[number] = results
        done += len(results)
        report(done, len(items))
    return [result for number in range(len(parts)) for result in found[number]]


def as_done(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    count: int,
    begin: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[tuple[int, Result]]:
    """Yield (number, result) of each item as it is done, from `count` processes, each of which first calls `begin`.

    An exception in `work` is raised here; it, and Ctrl-C, terminate the processes. Raises ChildProcessError where a
    process died.
    """
    others = set(active_children())
    # spawn: forked children of a process with threads (progress bar, BLAS) may deadlock.
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin, initargs=(begin, arguments)) as pool:
        try:
            with _ctrl_c_held():
                numbers = {pool.submit(work, item): number for number, item in enumerate(items)}
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except BrokenExecutor:
            raise ChildProcessError("a process died, most often for lack of memory: try fewer with --jobs") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(active_children()) - others:
                child.terminate()
            raise


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Delay Ctrl-C while processes are being started, so that it interrupts neither the submission nor a child.

    The children inherit the signal mask until they have installed a handler (`_begin`). In this process the mask is
    not enough, because another thread (that of a progress bar) may receive the signal; hence the handler as well.
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
    # Workers hold the pipe on which they wait open themselves: without this they would outlive a killed parent.
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _all(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [work(item) for item in items]
