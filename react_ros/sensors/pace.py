"""Lets recorded sensor data happen at its own times again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class Timed(Protocol):
    """Something with a time in ns since the start of its recording."""

    @property
    def time_ns(self) -> int: ...


T = TypeVar("T", bound=Timed)


def paced(items: Iterable[T], start_ns: int, stop: threading.Event, duration_ns: int = 0) -> Iterator[tuple[int, T]]:
    """Yield (stamp, item) once the item's moment, start + its time (+ its duration), has come, until `stop` is set.

    start_ns: ns since the epoch at which time 0 of the recording happens. Items whose moment passed more than 0.5 s
    ago are skipped, so a node started anew picks up where the others are.
    duration_ns: an item of sound is complete only after its length has passed.
    The stamp is the item's true time, however late the machine is.
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
