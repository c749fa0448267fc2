"""Plays recorded sensor data at the speed it was recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class Timed(Protocol):
    """An item with a time in ns since the start of its recording."""

    @property
    def time_ns(self) -> int: ...


T = TypeVar("T", bound=Timed)


def paced(items: Iterable[T], start_ns: int, stop: threading.Event, duration_ns: int = 0) -> Iterator[tuple[int, T]]:
    """Yield (stamp, item) when an item is due: at start_ns + its time + duration_ns. Ends when `stop` is set.

    start_ns: time 0 of the recording, in ns since the epoch. Items that were due more than 0.5 s ago are skipped, so
    that a restarted node resumes in step with the others.
    duration_ns: length of an item; a block of sound is available only at its end.
    stamp: ns since the epoch, start_ns + the item's time, independent of when it is yielded.
    """
    for item in items:
        stamp = start_ns + item.time_ns
        wait = stamp + duration_ns - time.time_ns()
        if wait < -500_000_000:
            if stop.is_set():
                return
            continue
        if stop.wait(max(wait, 0) / 1e9):
            return
        yield stamp, item
