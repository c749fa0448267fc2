"""What the frame clock takes, gives and counts: frames, waiting times, counters."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from react_ros.face import FRAME_NS, Floats

MIN_RATE, MAX_RATE = 8_000, 192_000
"""Sample rates that are accepted, in Hz."""


HALF_FRAME_NS = FRAME_NS // 2
MS = 1_000_000


@dataclass(slots=True)
class ClockFrame:
    """Frame k: the image and the sound that belong to it."""

    index: int
    """k, from 0; consecutive, also over a resynchronisation."""
    stamp_ns: int
    """t_k, on the grid of the current anchor."""
    image: Any | None
    """The newest image; the last one again where it is held; None where none has come, or none for `stale_ns`."""
    image_stamp_ns: int | None
    image_new: bool
    """Whether the image is shown for the first time."""
    sound: Floats
    """(640,) mono at 16 kHz, -1 to 1; ends at t_k - sound_lag_ns. Zeros where samples are missing."""
    sound_valid: float
    """Fraction of the window that was really heard."""
    video_stale: bool
    sound_stale: bool


@dataclass(frozen=True, slots=True)
class ClockConfig:
    """How long the clock waits. All in ns. Raises ValueError for a time out of range."""

    sound_lag_ns: int = 40 * MS
    """The sound of frame k ends at t_k - sound_lag_ns. A microphone delivers blocks late; waiting for the sound of
    the image's own instant would delay every face. Training and replay use the same lag, so features align alike."""
    image_wait_ns: int = 40 * MS
    """How long after its window a frame waits for its image, and the first frame for a first image."""
    sound_wait_ns: int = 20 * MS
    """How long after t_k a frame waits for its sound."""
    stale_ns: int = 500 * MS
    """A stream silent for longer is stale, and no longer waited for."""
    max_gap_ns: int = 2_000 * MS
    """A stamp further in the future, or a pause longer than this, starts a new grid."""
    jump_back_ns: int = 1_000 * MS
    """A stamp further in its stream's past starts a new grid; one so much older than `now_ns` is too late for any."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"{f.name} must be a whole number of ns, 0 or more, not {value!r}")
        if self.sound_lag_ns > 1_000 * MS:
            raise ValueError(f"sound_lag_ns must be at most 1 s, not {self.sound_lag_ns / 1e9:g} s")
        if min(self.stale_ns, self.jump_back_ns) < FRAME_NS or self.max_gap_ns < 2 * FRAME_NS:
            raise ValueError("stale_ns and jump_back_ns must be at least one frame (40 ms), max_gap_ns at least two")


@dataclass(slots=True)
class ClockCounters:
    """What has happened to the streams since the start."""

    images: int = 0
    late_images: int = 0
    """Older than one already used, or far older than now: dropped."""
    duplicate_images: int = 0
    reordered_images: int = 0
    """Came after a newer one, in time to be sorted in."""
    skipped_images: int = 0
    """More than the grid needs (a camera faster than 25 fps)."""
    held_frames: int = 0
    """Frames without a new image."""
    sound_gaps: int = 0
    """Holes in the sample count."""
    sound_duplicates: int = 0
    """Blocks that were, in part or whole, already there."""
    sound_restarts: int = 0
    """The sample count or rate began anew, or left the stamps for good."""
    late_sound: int = 0
    """Blocks that came after their frame had gone."""
    resets: int = 0
    """Resynchronisations: a clock jumped, or everything paused."""
