"""Spreads independent work over processes, in order, with progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

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
    if count <= 1:
        return _gather(map(work, items), len(items), progress)
    # spawn: forked children of a process with threads (progress bar, BLAS) may hang.
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        chunk = max(1, min(16, len(items) // (8 * count)))
        try:
            return _gather(pool.map(work, items, chunksize=chunk), len(items), progress)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _gather(results: Iterable[Result], total: int, progress: Progress | None) -> list[Result]:
    out: list[Result] = []
    for result in results:
        out.append(result)
        if progress:
            progress(len(out), total)
    return out
