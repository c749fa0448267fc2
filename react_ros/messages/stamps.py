"""Times in messages: stamps, the limits of their age, and the duration of a processing stage."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

Stages = dict[str, tuple[int, float]]
"""Stage name to (start in ns since the epoch, duration in s), in the order of processing."""


def nanoseconds(stamp: Any) -> int:
    """ns since the epoch of a builtin_interfaces/Time."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


@dataclass(frozen=True, slots=True)
class StampLimits:
    """How far a stamp may differ from the present time."""

    past: float = 5.0
    """s."""
    future: float = 0.5
    """s."""

    def check(self, stamp_ns: int, now_ns: int) -> None:
        """Raises ValueError for a stamp outside the limits."""
        ahead = (stamp_ns - now_ns) / 1e9
        if ahead > self.future:
            raise ValueError(f"its stamp is {ahead:.1f} s in the future; at most {self.future:g} s is accepted")
        if -ahead > self.past:
            raise ValueError(f"its stamp is {-ahead:.1f} s old; at most {self.past:g} s is accepted")


class Stopwatch:
    """Measures one processing stage, for the lineage."""

    def __init__(self) -> None:
        self.start_ns = time.time_ns()
        self._start = time.perf_counter()

    def read(self) -> tuple[int, float]:
        """(start in ns since the epoch, duration so far in s)."""
        return self.start_ns, time.perf_counter() - self._start
