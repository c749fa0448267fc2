"""Assigns the images of one camera to the frames of the 25 Hz grid."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import Any

from react_ros.clock.types import HALF_FRAME_NS, MS
from react_ros.face import FRAME_NS

_PHASE_MEMORY = 32
"""Images over which the phase is averaged."""
_PHASE_FIRST = -10 * MS
_PHASE_LOW, _PHASE_HIGH = -14 * MS, 34 * MS
"""Limits of the camera's phase against the grid, ns. The first phase lies within one frame from _PHASE_FIRST; later it
may drift between the limits. They span more than a frame, so that a camera on the border between two phases does not
alternate between them. They favour images after t_k: for an image before t_k, the frame would still wait for its
sound."""


def _wrap(ns: float) -> float:
    """Difference modulo one frame, in [-20, 20) ms."""
    return (ns + HALF_FRAME_NS) % FRAME_NS - HALF_FRAME_NS


@dataclass(slots=True)
class CameraPhase:
    """Queue of images waiting for their frame, with the camera's phase: its mean offset in ns from the grid."""

    stamps: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    """Grid index of the frame that each image belongs to."""
    images: list[Any] = field(default_factory=list)
    newest: int | None = None
    """Newest stamp so far, ns."""
    used: int | None = None
    """Stamp of the image taken last, ns."""
    phase: float = 0.0
    count: int = 0
    """Images so far."""

    def push(self, stamp: int, image: Any, t0: int) -> None:
        """Queue an image. t0: time of grid index 0, ns."""
        if not self.count:
            self.phase = (stamp - t0 - _PHASE_FIRST) % FRAME_NS + _PHASE_FIRST
        slot = int((stamp - t0 - self.phase + HALF_FRAME_NS) // FRAME_NS)
        i = bisect.bisect_left(self.stamps, stamp)
        if i:
            slot = max(slot, self.slots[i - 1])
        self.stamps.insert(i, stamp)
        self.slots.insert(i, slot)
        self.images.insert(i, image)
        self.newest = stamp if self.newest is None else max(stamp, self.newest)
        self.count += 1
        self.phase += _wrap(stamp - t0 - self.phase) / min(self.count, _PHASE_MEMORY)
        if self.phase > _PHASE_HIGH:
            self.phase -= FRAME_NS
        elif self.phase < _PHASE_LOW:
            self.phase += FRAME_NS

    def knows(self, slot: int) -> bool:
        """Whether the image of a slot has arrived, or a later image, which means that the slot has none."""
        return bool(self.slots) and self.slots[-1] >= slot

    def take(self, slot: int) -> tuple[int, Any, int] | None:
        """(stamp, image, images skipped) for a slot: its first image, else the newest earlier one, else None."""
        i = bisect.bisect_left(self.slots, slot)
        if i == len(self.slots) or self.slots[i] != slot:
            i -= 1
        if i < 0:
            return None
        self.used, image = self.stamps[i], self.images[i]
        for column in (self.stamps, self.slots, self.images):
            del column[: i + 1]
        return self.used, image, i
