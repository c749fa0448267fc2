"""Types of the frame clock: its frames, its configuration, its counters."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from react_ros.face import FRAME_NS, Floats

MIN_RATE, MAX_RATE = 6_000, 192_000
"""Accepted sample rates, Hz."""
HALF_FRAME_NS = FRAME_NS // 2
MS = 1_000_000
SOUND_LAG_MAX_NS = 400 * MS
"""Usual bound of a lag that adapts: 200 ms of delivery, blocks of 128 ms, and the rounding to frames."""


@dataclass(slots=True)
class ClockFrame:
    """Frame k with its image and its sound."""

    index: int
    """k, from 0; consecutive, also across a restart of the grid."""
    stamp_ns: int
    """t_k in ns, on the current grid."""
    image: Any | None
    """The frame's image; the previous one where the frame has none of its own; None before the first image, and where
    none has arrived for `stale_ns`."""
    image_stamp_ns: int | None
    image_new: bool
    """False where the previous image is held."""
    sound: Floats
    """(640,) mono at 16 kHz, -1 to 1; ends at t_k - sound_lag_ns. Zeros where samples are missing."""
    sound_valid: float
    """Fraction of the window that was received, 0 to 1."""
    video_stale: bool
    sound_stale: bool
    sound_lag_ns: int = 40 * MS
    """Lag of its sound (see `ClockConfig`)."""


@dataclass(frozen=True, slots=True)
class ClockConfig:
    """Waiting times and limits of the clock, all in ns. Raises ValueError for a value out of range."""

    sound_lag_ns: int = 40 * MS
    """The sound of frame k ends at t_k - sound_lag_ns. Microphones deliver blocks late: waiting for the sound up to t_k
    would delay every frame. Training and replay use the same lag, so that features are aligned identically."""
    sound_lag_max_ns: int = 0
    """Where sound arrives later than `sound_lag_ns` allows, the lag grows up to this (see `SoundLag`). At or below
    `sound_lag_ns`: it never changes."""
    image_wait_ns: int = 40 * MS
    """How long after its window a frame waits for its image; also, how long frame 0 waits for a first image."""
    sound_wait_ns: int = 20 * MS
    """How long after t_k a frame waits for its sound."""
    stale_ns: int = 500 * MS
    """A stream without data for longer is stale; frames no longer wait for it."""
    max_gap_ns: int = 2_000 * MS
    """A stamp further in the future, or a longer pause, starts a new grid."""
    jump_back_ns: int = 1_000 * MS
    """A stamp further back in its stream starts a new grid; data so much older than `now_ns` is dropped as late."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"{f.name} must be a whole number of ns, 0 or more, not {value!r}")
        for name in ("sound_lag_ns", "sound_lag_max_ns"):
            if getattr(self, name) > 1_000 * MS:
                raise ValueError(f"{name} must be at most 1 s, not {getattr(self, name) / 1e9:g} s")
        if min(self.stale_ns, self.jump_back_ns) < FRAME_NS or self.max_gap_ns < 2 * FRAME_NS:
            raise ValueError("stale_ns and jump_back_ns must be at least one frame (40 ms), max_gap_ns at least two")


@dataclass(slots=True)
class ClockCounters:
    """Counts of events since the start."""

    images: int = 0
    late_images: int = 0
    """Dropped: older than an image already used, or older than now by more than `jump_back_ns`."""
    duplicate_images: int = 0
    reordered_images: int = 0
    """Arrived after a newer image, in time to be sorted in."""
    skipped_images: int = 0
    """More images than frames (a camera faster than 25 fps)."""
    held_frames: int = 0
    """Frames without a new image."""
    sound_gaps: int = 0
    """Gaps in the sample count."""
    sound_duplicates: int = 0
    """Blocks that repeat samples already received, wholly or in part."""
    sound_restarts: int = 0
    """The sample count or the rate changed, or the stamps and the count diverged."""
    late_sound: int = 0
    """Blocks that arrived after their frame had been emitted."""
    resets: int = 0
    """Restarts of the grid: a clock jumped, or both streams paused."""
