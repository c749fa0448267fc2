"""How many messages of a stream arrive, and how many its stamps say there were."""

from __future__ import annotations

from collections import deque

import numpy as np

SPAN_NS = 2_000_000_000
"""Length of the window that is looked at."""
_ENOUGH = 6
"""Fewest stamps from which the sender's period is estimated."""
_TOLERANCE = 0.25
"""Of a period, by which an interval may differ from a whole number of periods."""
_REGULAR = 0.8
"""Share of the intervals that must be within the tolerance: otherwise the sender has no constant period."""


class StreamRate:
    """Arrivals of the last SPAN_NS, with their stamps. Times in ns."""

    def __init__(self) -> None:
        self._arrivals: deque[tuple[int, int]] = deque(maxlen=1000)
        self._since: int | None = None

    def add(self, stamp: int, now: int) -> None:
        """Count a message."""
        if self._arrivals and not 0 <= now - self._arrivals[-1][0] <= SPAN_NS:
            self._arrivals.clear()
            self._since = None
        if self._since is None:
            self._since = now
        self._arrivals.append((now, stamp))

    def rate(self, now: int) -> float | None:
        """Messages a second; None until the stream is as old as the window, and once it has ended."""
        self._forget(now)
        if self._since is None or now - self._since < SPAN_NS or not self._arrivals:
            return None
        return len(self._arrivals) / (SPAN_NS / 1e9)

    def sent(self, now: int) -> float | None:
        """Messages a second that were sent, from the period of the stamps; None if they have no constant period.

        A lost message leaves an interval of two periods. The period is the median of the shortest third of the
        intervals: with most messages lost, some neighbours still arrive.
        """
        self._forget(now)
        stamps = np.unique([stamp for _, stamp in self._arrivals])
        if len(stamps) < _ENOUGH:
            return None
        intervals = np.sort(np.diff(stamps).astype(np.float64))
        period = float(np.median(intervals[: max(1, len(intervals) // 3)]))
        multiples = np.rint(intervals / period)
        if (np.abs(intervals / period - multiples) < _TOLERANCE).mean() < _REGULAR:
            return None
        return len(stamps) * float(multiples.sum()) / len(intervals) / (SPAN_NS / 1e9)

    def _forget(self, now: int) -> None:
        while self._arrivals and now - self._arrivals[0][0] > SPAN_NS:
            self._arrivals.popleft()
        if not self._arrivals:
            self._since = None
