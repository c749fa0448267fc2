"""Says in one sentence why nothing is heard: no sound arrives, it arrives too late, or it is digital silence."""

from __future__ import annotations

import time
from collections import deque

from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockFrame
from react_ros.face import FPS, FRAME_NS

SILENT_S = 1.5
"""A source that publishes nothing for longer is dead, stopped or stuck."""
ZEROS_S = 1.8
"""Sound whose samples are all 0 for longer comes from a microphone that is muted or missing."""
MAX_LAG_S = 1.0
"""Bound of the parameter."""
_MEMORY = 2 * FPS
_INCOMPLETE = 0.3
"""Share of the last frames with incomplete sound that is worth a warning."""


class Hearing:
    """Watches the sound of one human's frames."""

    def __init__(self, clock: FrameClock, max_parameter: str = "sound_lag_max") -> None:
        self._clock = clock
        self._parameter = max_parameter
        self._begin = time.monotonic()
        self._arrived: float | None = None
        self._zeros = 0
        self._incomplete: deque[bool] = deque(maxlen=_MEMORY)

    def arrived(self) -> None:
        """Note a message with sound."""
        self._arrived = time.monotonic()

    def frame(self, frame: ClockFrame) -> None:
        """Note a frame of the clock."""
        if frame.sound_valid:
            self._zeros = 0 if frame.sound.any() else self._zeros + 1
        self._incomplete.append(frame.sound_valid < 1.0)

    def missing(self, publishers: int) -> str:
        """Says that no sound arrives; empty where it does, or where nobody has ever published any.

        publishers: number of publishers of sound at present.
        """
        silent = time.monotonic() - (self._begin if self._arrived is None else self._arrived)
        if silent <= SILENT_S:
            return ""
        if publishers:
            return f"no sound for {silent:.0f} s: the microphone's node is there, but publishes nothing"
        return "" if self._arrived is None else f"no sound for {silent:.0f} s: nothing publishes it any more"

    def unusable(self) -> str:
        """What is wrong with the sound that arrives; empty where nothing is."""
        if self._zeros > ZEROS_S * FPS:
            return (
                f"digital silence for {self._zeros / FPS:.0f} s (all samples are 0): is the microphone muted or gone?"
            )
        lag = self._clock.lag
        if lag.too_late and sum(self._incomplete) > _INCOMPLETE * _MEMORY:
            needed = -(-lag.age_ns // FRAME_NS) * FRAME_NS / 1e9
            remedy = f"set {self._parameter} to {needed:.2f} or more"
            if needed > MAX_LAG_S:
                remedy = (
                    f"{self._parameter} makes up for {MAX_LAG_S:g} s at most: look for the delay where it is captured"
                )
            return f"sound arrives {lag.age_ns / 1e6:.0f} ms after its capture, too late for most frames: {remedy}"
        return ""
