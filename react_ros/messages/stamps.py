"""Time in messages: stamps, how far they may lie from now, and the duration of a stage."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

Stages = dict[str, tuple[int, float]]
"""Stage name to (start in ns since the epoch, duration in s), in order."""


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time in ns since the epoch."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


@dataclass(frozen=True, slots=True)
class StampLimits:
    """How far a stamp may lie from now, s."""

    past: float = 5.0
    future: float = 0.5

    def check(self, stamp_ns: int, now_ns: int) -> None:
        ahead = (stamp_ns - now_ns) / 1e9
        if ahead > self.future:
            raise ValueError(f"its stamp is {ahead:.1f} s in the future; at most {self.future:g} s is accepted")
        if -ahead > self.past:
            raise ValueError(f"its stamp is {-ahead:.1f} s old; at most {self.past:g} s is accepted")


class Stopwatch:
    """Times one stage for the lineage."""

    def __init__(self) -> None:
        self.start_ns = time.time_ns()
        self._start = time.perf_counter()

    def read(self) -> tuple[int, float]:
        """(start in ns since the epoch, duration so far in s)."""
        return self.start_ns, time.perf_counter() - self._start
