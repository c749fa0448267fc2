"""Says in one sentence why sound that arrives is not heard: it arrives too late, or it is digital silence."""

from __future__ import annotations

from collections import deque

from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockFrame
from react_ros.face import FPS, FRAME_NS

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
        self._zeros = 0
        self._incomplete: deque[bool] = deque(maxlen=_MEMORY)

    def frame(self, frame: ClockFrame) -> None:
        """Note a frame of the clock."""
        if frame.sound_valid:
            self._zeros = 0 if frame.sound.any() else self._zeros + 1
        self._incomplete.append(frame.sound_valid < 1.0)

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
