"""Progress of long commands on stderr: bars on a terminal; elsewhere a line at most every 30 s per task."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

INTERVAL_S = 30.0
"""Shortest time between two lines of a task, without a terminal."""


class ProgressLines:
    """Progress without a terminal: a line with rate and time left, at most every `INTERVAL_S` per task."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._tasks: dict[str, list[float]] = {}
        """By task: its start and the time of its last line, s; the progress at its start."""
        self._newest: tuple[str, float, float, float | None] | None = None
        """The task updated last: its text, the time of that, its progress and its total."""
        self._spoken = clock()
        """Time of the last line of any task, s."""
        self._lock = threading.Lock()

    @contextmanager
    def beating(self) -> Iterator[ProgressLines]:
        """Print a line every `INTERVAL_S` also where one step of a task takes longer, from a thread."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(1.0):
                self.beat()

        thread = threading.Thread(target=beat, name="progress", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()

    def beat(self) -> None:
        """Say how long the present step has taken, where nothing was said for `INTERVAL_S`."""
        with self._lock:
            now = self._clock()
            if self._newest is None or now - self._spoken < INTERVAL_S:
                return
            text, since, done, total = self._newest
            if total is not None and done >= total:
                return
            self._spoken = now
            of = f" of {total:.6g}" if total else ""
            self.print(f"{text}: {done:.6g}{of}, the next for {_duration(now - since)} so far")

    def print(self, sentence: str) -> None:
        """Print a line."""
        print(sentence, file=self._stream or sys.stderr, flush=True)

    def update(self, task: str, done: float, total: float | None, text: str = "") -> None:
        """Progress of a task: `done` of `total` (None: unknown). text: shown instead of the task's name."""
        with self._lock:
            self._update(task, done, total, text)

    def _update(self, task: str, done: float, total: float | None, text: str) -> None:
        now = self._clock()
        self._newest = text or task, now, done, total
        start, last, first = self._tasks.setdefault(task, [now, now, done])
        if now - last < INTERVAL_S:
            return
        self._tasks[task][1] = self._spoken = now
        rate = (done - first) / (now - start)
        facts = [f"{done:.6g}" + (f" of {total:.6g}" if total else ""), f"{rate:.3g}/s"]
        if total and rate > 0:
            facts.append(f"{_duration((total - done) / rate)} left")
        self.print(f"{text or task}: {', '.join(facts)}")


class ProgressBars:
    """Progress on a terminal: a bar per task, with count, elapsed time and time left. `bars`: rich's Progress."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def print(self, sentence: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(sentence, markup=False, soft_wrap=True)

    def update(self, task: str, done: float, total: float | None, text: str = "") -> None:
        """Progress of a task: `done` of `total` (None: unknown). text: shown instead of the task's name."""
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(text or task, total=total)
        self._bars.update(self._tasks[task], completed=done, total=total, description=text or task)


ProgressDisplay = ProgressLines | ProgressBars


@contextmanager
def progress_display() -> Iterator[ProgressDisplay]:
    """The progress display for stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        with ProgressLines().beating() as lines:
            yield lines
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console) as bars:
        yield ProgressBars(bars)


@contextmanager
def progress(task: str) -> Iterator[Callable[[float, float | None], None]]:
    """The progress of one task: yields a function of (done, total)."""
    with progress_display() as display:
        if isinstance(display, ProgressLines):
            display.update(task, 0, None)
        yield lambda done, total: display.update(task, done, total)


def _duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"
