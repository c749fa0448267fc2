"""One image stream against the 25 Hz grid: which image belongs to which frame."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import Any

from react_ros.clock.types import HALF_FRAME_NS, MS
from react_ros.face import FRAME_NS

_PHASE_MEMORY = 32


_PHASE_FIRST = -10 * MS
_PHASE_LOW, _PHASE_HIGH = -14 * MS, 34 * MS
"""A camera's phase is chosen within a frame from _PHASE_FIRST and may then wander between the limits: wider than a
frame, so that a camera right between two phases does not flip from one to the other; and rather after t_k than
before it, where a frame would wait for its sound."""


def _wrap(ns: float) -> float:
    return (ns + HALF_FRAME_NS) % FRAME_NS - HALF_FRAME_NS


@dataclass(slots=True)
class CameraPhase:
    """Images that wait for their frame, and the camera's phase against the grid."""

    stamps: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    """The grid's number of the frame whose window each image falls into."""
    images: list[Any] = field(default_factory=list)
    newest: int | None = None
    used: int | None = None
    phase: float = 0.0
    seen: int = 0

    def push(self, stamp: int, image: Any, t0: int) -> None:
        if not self.seen:
            self.phase = (stamp - t0 - _PHASE_FIRST) % FRAME_NS + _PHASE_FIRST
        slot = int((stamp - t0 - self.phase + HALF_FRAME_NS) // FRAME_NS)
        i = bisect.bisect_left(self.stamps, stamp)
        if i:
            slot = max(slot, self.slots[i - 1])
        self.stamps.insert(i, stamp)
        self.slots.insert(i, slot)
        self.images.insert(i, image)
        self.newest = stamp if self.newest is None else max(stamp, self.newest)
        self.seen += 1
        self.phase += _wrap(stamp - t0 - self.phase) / min(self.seen, _PHASE_MEMORY)
        if self.phase > _PHASE_HIGH:
            self.phase -= FRAME_NS
        elif self.phase < _PHASE_LOW:
            self.phase += FRAME_NS

    def knows(self, slot: int) -> bool:
        """Whether a slot's image is there, or a later one, which proves that it has none."""
        return bool(self.slots) and self.slots[-1] >= slot

    def take(self, slot: int) -> tuple[int, Any, int] | None:
        """(stamp, image, images skipped) for a slot: its first image, else the newest one left over, else None."""
        i = bisect.bisect_left(self.slots, slot)
        if i == len(self.slots) or self.slots[i] != slot:
            i -= 1
        if i < 0:
            return None
        self.used, image = self.stamps[i], self.images[i]
        for column in (self.stamps, self.slots, self.images):
            del column[: i + 1]
        return self.used, image, i
