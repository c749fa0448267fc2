"""When the face is shown: at a fixed rate whatever comes in, and as soon after a reaction as that allows."""

from __future__ import annotations

from react_ros.face import FRAME_NS


class OutputPacer:
    """Output frames lie on a grid of one every 40 ms that follows the reactions' own rhythm.

    A reaction that comes from `early_ns` before its grid point to `late_ns` after it is shown at once; an earlier one
    waits. One that comes even later does not hold up the face: the output goes without it, and the next one shows it,
    or what came after it. So outputs never leave the grid by more. Without reactions the grid runs on by itself.
    Times are ns on any steady clock.
    """

    GAIN = 0.1
    """Share of a reaction's distance from the grid by which the grid moves: jitter averages out, drift is followed."""
    SILENCE_NS = 12 * FRAME_NS
    """After so long without a reaction the next one sets the grid anew."""

    def __init__(self, now_ns: int, early_ns: int = 10_000_000, late_ns: int = 20_000_000) -> None:
        if not 0 <= early_ns <= FRAME_NS // 2 or not 0 <= late_ns <= FRAME_NS // 2:
            raise ValueError(f"early_ns and late_ns must be from 0 to {FRAME_NS // 2}, not {early_ns} and {late_ns}")
        self._early = early_ns
        self._late = late_ns
        self._tick = now_ns + FRAME_NS
        self._arrival: int | None = None
        self._pending = False

    def arrived(self, now_ns: int) -> None:
        """A reaction has come."""
        silent = self._arrival is None or now_ns - self._arrival > self.SILENCE_NS
        self._arrival = now_ns
        self._pending = True
        # Distance to the nearest point of the grid, -20 to 20 ms: a late one says no less about the rhythm.
        error = (now_ns - self._tick + FRAME_NS // 2) % FRAME_NS - FRAME_NS // 2
        self._tick += error if silent else round(self.GAIN * error)

    @property
    def due_ns(self) -> int:
        """When the next output is due, as far as is known now."""
        if not self._pending or self._arrival is None:
            return self._tick + self._late
        if self._arrival < self._tick - FRAME_NS // 2:
            # It missed its own grid point. Were it shown early, the next would have to wait, and so on: the face would
            # stay a frame behind. So it waits until the next one should be there and may take its place.
            return self._tick + self._early
        return self._tick - self._early

    def shown(self, now_ns: int) -> None:
        """An output has gone out."""
        self._pending = False
        self._tick += FRAME_NS
        if now_ns > self._tick + self._late:
            # The machine stood still: what was missed is not caught up with in a burst.
            self._tick += (now_ns - self._tick) // FRAME_NS * FRAME_NS + FRAME_NS
