"""When the face is shown: at a fixed rate whatever comes in, and as soon after a reaction as that allows."""

from __future__ import annotations

from react_ros.face import FRAME_NS


class OutputPacer:
    """Output frames lie on a grid of one every 40 ms that follows the reactions' own rhythm.

    A reaction that comes within `slack_ns` of its grid point is shown at once; a reaction that comes later does not
    hold up the face: the output goes without it, and the next one shows it. So outputs are never further than
    `slack_ns` from the grid. Without reactions the grid runs on by itself. Times are ns on any steady clock.
    """

    GAIN = 0.1
    """Share of a reaction's distance from the grid by which the grid moves: jitter averages out, drift is followed."""
    SILENCE_NS = 12 * FRAME_NS
    """After so long without a reaction the next one sets the grid anew."""

    def __init__(self, now_ns: int, slack_ns: int = 10_000_000) -> None:
        if not 0 <= slack_ns < FRAME_NS // 2:
            raise ValueError(f"slack_ns must be from 0 to below {FRAME_NS // 2}, not {slack_ns}")
        self._slack = slack_ns
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
        return self._tick - self._slack if self._pending else self._tick + self._slack

    def shown(self, now_ns: int) -> None:
        """An output has gone out."""
        self._pending = False
        self._tick += FRAME_NS
        if now_ns > self._tick + self._slack:
            # The machine stood still: what was missed is not caught up with in a burst.
            self._tick += (now_ns - self._tick) // FRAME_NS * FRAME_NS + FRAME_NS
