"""The 25 Hz timeline of a recorded session, built from the speaker's stamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from react_ros.face import FRAME_NS

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

LONGEST_PAUSE_NS = 1_000_000_000
"""Longest pause between speaker frames that is filled with the last frame; a longer one ends a stretch."""
LONGEST_HOLD_NS = 500_000_000
"""How long the last frame of a listener, or the last reaction, is held where later ones are missing."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The moments of a session: T slots, 40 ms apart within a stretch. Built from the speaker's stamps."""

    times: Numbers
    """(T,) ns since the epoch."""
    slots: Numbers
    """(n,) the slot of each of the speaker's frames, non-decreasing."""
    stretches: tuple[tuple[int, int], ...]
    """[begin, end) slots without a long pause between the speaker's frames."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def rows(self) -> Numbers:
        """(T,) the number of the speaker's newest frame at each slot."""
        return np.searchsorted(self.slots, np.arange(len(self)), side="right") - 1

    def newest(self, stamps: Numbers) -> tuple[Numbers, Flags]:
        """The newest of some moments at each slot: (T,) its number, and (T,) whether it is at most 0.5 s old.

        stamps: (n,) ns, ascending; each is rounded to the nearest slot. Slots before the first one get number 0.
        """
        at = np.searchsorted(stamps, self.times + FRAME_NS // 2, side="right") - 1
        there = at >= 0
        at = np.maximum(at, 0)
        return at, there & (self.times - stamps[at] <= LONGEST_HOLD_NS)


def timeline_of(stamps: Numbers) -> Timeline:
    """The timeline of a speaker's frames. stamps: (n,) ns, n > 0, in the order received.

    A stretch ends where the next stamp is more than 1 s later, or earlier.
    """
    pauses = np.diff(stamps)
    cuts = np.flatnonzero((pauses > LONGEST_PAUSE_NS) | (pauses < 0)) + 1
    times, slots, stretches = [], [], []
    begin = 0
    for part in np.split(stamps, cuts):
        at = np.rint((part - part[0]) / FRAME_NS).astype(np.int64)
        end = begin + int(at[-1]) + 1
        times.append(part[0] + np.arange(end - begin) * FRAME_NS)
        slots.append(begin + at)
        stretches.append((begin, end))
        begin = end
    return Timeline(np.concatenate(times), np.concatenate(slots), tuple(stretches))
