"""Where the time goes between the sensor and the face, read from the lineage that messages carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LIVE, IDLE, LATE = 0, 1, 4
STAGES = {
    "image": "camera to perception",
    "face": "face landmarks",
    "affect": "action units, affect",
    "speech": "speech detection",
    "acoustics": "sound features",
    "embedding": "speech embedding",
    "to listener": "perception to listener",
    "listener": "listener",
    "to avatar": "listener to avatar",
    "motion": "motion",
}
"""Stages in order, and what they are called in tables. "to …" is the time on the wire (and waiting to be read)."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of times, ms."""

    count: int
    p50: float
    p95: float
    p99: float

    @staticmethod
    def of(milliseconds: Sequence[float]) -> Distribution | None:
        """None of nothing."""
        if not len(milliseconds):
            return None
        return Distribution(len(milliseconds), *(float(p) for p in np.percentile(milliseconds, [50, 95, 99])))


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """How quickly and steadily a face answered."""

    total: Distribution | None
    """From the sensor's stamp to the face message."""
    stages: dict[str, Distribution]
    """By the names of `STAGES`."""
    interval: Distribution | None
    """Time between two outputs."""
    jitter_p99: float
    """99th percentile of how far an interval is from 40 ms, ms."""
    frames: int
    """Speaker frames between the first and the last answered one."""
    answered: int
    """How many of them the face answered."""
    outputs: int
    late: int

    @property
    def answered_share(self) -> float:
        """Share of speaker frames that were answered, 0 to 1."""
        return self.answered / self.frames if self.frames else 0.0


def _ns(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def measure(statuses: Iterable[tuple[int, Any]]) -> LatencyReport:
    """Read the lineage of (arrival in ns, avatar/status message) pairs; the arrival only for the output's rhythm.

    The total is the difference between two clocks: on one machine, or where the machines' clocks agree.
    """
    times: dict[str, list[float]] = {name: [] for name in STAGES}
    total: list[float] = []
    arrivals: list[int] = []
    answered: set[int] = set()
    late = outputs = 0
    for arrival, status in statuses:
        outputs += 1
        arrivals.append(arrival)
        late += status.state == LATE
        if status.state not in (LIVE, IDLE):
            continue
        answered.add(status.lineage.frame)
        stages = {stage.name: (_ns(stage.start), stage.duration * 1e3) for stage in status.lineage.stages}
        for name, (_, duration) in stages.items():
            if name in times:
                times[name].append(duration)
        ends = {name: start / 1e6 + duration for name, (start, duration) in stages.items()}
        if "acoustics" in stages and "listener" in stages:
            last = ends.get("embedding", ends["acoustics"])
            times["to listener"].append(stages["listener"][0] / 1e6 - last)
        if "listener" in stages and "motion" in stages:
            times["to avatar"].append(stages["motion"][0] / 1e6 - ends["listener"])
        if "image" in stages:  # a frame without a new image has no image to be late for
            total.append(status.latency * 1e3)
    intervals = np.diff(arrivals) / 1e6
    return LatencyReport(
        total=Distribution.of(total),
        stages={name: d for name, values in times.items() if (d := Distribution.of(values)) is not None},
        interval=Distribution.of(list(intervals)),
        jitter_p99=float(np.percentile(np.abs(intervals - 40.0), 99)) if len(intervals) else float("nan"),
        frames=max(answered) - min(answered) + 1 if answered else 0,
        answered=len(answered),
        outputs=outputs,
        late=late,
    )
