"""Latency from the sensor to the face, in total and by stage, from the lineage in the messages."""

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
"""Stages in order, with their names in tables. "to …": transport and waiting time between two nodes."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Count and percentiles of times, ms."""

    count: int
    p50: float
    p95: float
    p99: float

    @staticmethod
    def of(milliseconds: Sequence[float]) -> Distribution | None:
        """Of a sequence in ms; None of an empty one."""
        if not len(milliseconds):
            return None
        return Distribution(len(milliseconds), *(float(p) for p in np.percentile(milliseconds, [50, 95, 99])))


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Latency and regularity of the avatar's output."""

    total: Distribution | None
    """From the sensor's stamp to the face message."""
    stages: dict[str, Distribution]
    """By the keys of `STAGES`; stages without a measurement are missing."""
    interval: Distribution | None
    """Time between two successive outputs."""
    jitter_p99: float
    """99th percentile of |interval - 40 ms|, ms."""
    frames: int
    """Speaker frames from the first to the last answered one."""
    answered: int
    """Those of them for which an output came."""
    outputs: int
    late: int

    @property
    def answered_share(self) -> float:
        """Share of speaker frames that were answered, 0 to 1."""
        return self.answered / self.frames if self.frames else 0.0


def _ns(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def measure(statuses: Iterable[tuple[int, Any]]) -> LatencyReport:
    """Evaluate (arrival in ns, avatar/status message) pairs; the arrival is used for intervals only.

    The total compares the sensor's clock with the avatar's: it is valid on one machine, or with synchronised clocks.
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
        if "image" in stages:  # a frame without a new image has no latency
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
