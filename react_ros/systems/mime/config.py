"""The mime baseline's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.config import whole_in_range

MAX_DELAY = 250
"""Frames: 10 s."""


@dataclass(frozen=True, slots=True)
class MimeConfig:
    """Raises ValueError for a value out of range."""

    delay_frames: int = 0
    """Delay behind the speaker, in frames of 40 ms."""

    def __post_init__(self) -> None:
        whole_in_range("delay_frames", self.delay_frames, 0, MAX_DELAY)
