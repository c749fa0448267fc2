"""Schedules the avatar's outputs: at a fixed rate, and as soon after each reaction as the rate allows."""

from __future__ import annotations

from react_ros.face import FRAME_NS


class OutputPacer:
    """Output frames lie on a 40 ms grid that follows the phase of the arriving reactions.

    A reaction that arrives from `early_ns` before its grid point to `late_ns` after it is shown at once; an earlier one
    waits until then. For a later one no output waits: the output is made without it, and the next output shows it, or
    its successor. So no output deviates from the grid by more. Without reactions the grid continues. Times are ns on
    any monotonic clock.
    """

    GAIN = 0.1
    """Fraction of a reaction's distance from the grid by which the grid moves: averages jitter, follows drift."""
    SILENCE_NS = 12 * FRAME_NS
    """After this time without a reaction, the next one sets the phase of the grid."""

    def __init__(self, now_ns: int, early_ns: int = 10_000_000, late_ns: int = 20_000_000) -> None:
        if not 0 <= early_ns <= FRAME_NS // 2 or not 0 <= late_ns <= FRAME_NS // 2:
            raise ValueError(f"early_ns and late_ns must be from 0 to {FRAME_NS // 2}, not {early_ns} and {late_ns}")
        self._early = early_ns
        self._late = late_ns
        self._tick = now_ns + FRAME_NS
        self._arrival: int | None = None
        self._pending = False

    def arrived(self, now_ns: int) -> None:
        """Register the arrival of a reaction."""
        silent = self._arrival is None or now_ns - self._arrival > self.SILENCE_NS
        self._arrival = now_ns
        self._pending = True
        # Distance to the nearest grid point, -20 to 20 ms; late reactions inform the phase as well.
        error = (now_ns - self._tick + FRAME_NS // 2) % FRAME_NS - FRAME_NS // 2
        self._tick += error if silent else round(self.GAIN * error)

    @property
    def due_ns(self) -> int:
        """When the next output is due, given the arrivals so far."""
        if not self._pending or self._arrival is None:
            return self._tick + self._late
        if self._arrival < self._tick - FRAME_NS // 2:
            # It missed its grid point. If it were shown early, the next one would have to wait, and so on: the face
            # would stay a frame behind. So it waits until the next one is expected, which may replace it.
            return self._tick + self._early
        return self._tick - self._early

    def shown(self, now_ns: int) -> None:
        """Register an output."""
        self._pending = False
        self._tick += FRAME_NS
        if now_ns > self._tick + self._late:
            # The process was stalled: skip the missed outputs instead of sending them in a burst.
            self._tick += (now_ns - self._tick) // FRAME_NS * FRAME_NS + FRAME_NS
