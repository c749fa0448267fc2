"""When a process that has ended is started again."""

from __future__ import annotations

HEALTHY_S = 10.0
"""A process that has been configured for so long is healthy: its earlier deaths no longer count."""
DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
"""Delay of the restart after the 1st, 2nd, … death in a row; the last one for all further deaths."""


class Restarts:
    """Counts the deaths of one process in a row, and delays its restarts accordingly. Times in s on any clock."""

    def __init__(self) -> None:
        self.total = 0
        """Restarts so far."""
        self.in_a_row = 0
        """Deaths since it was healthy."""
        self.was_ready = False
        """Whether it has ever been configured."""
        self._ready_since: float | None = None

    def ready(self, now: float) -> None:
        """The process is configured; may be called repeatedly."""
        self.was_ready = True
        if self._ready_since is None:
            self._ready_since = now
        elif now - self._ready_since >= HEALTHY_S:
            self.in_a_row = 0

    def died(self, now: float) -> float:
        """The process has ended. Returns the delay of its restart, s."""
        if self._ready_since is not None and now - self._ready_since >= HEALTHY_S:
            self.in_a_row = 0
        self._ready_since = None
        self.total += 1
        self.in_a_row += 1
        return DELAYS_S[min(self.in_a_row, len(DELAYS_S)) - 1]
