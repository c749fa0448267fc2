"""The speaker's smile, brows and head over the last seconds, each relative to this speaker's rest."""

from __future__ import annotations

import numpy as np

from react_ros.face import ARKIT_INDEX, FPS, Face

HISTORY = 64
"""Frames that a delayed response can reach back: 2.56 s."""
SMILE, BROW_UP, BROW_DOWN = 0, 1, 2
HEAD = slice(3, 6)
"""Columns of `SpeakerMotion.history`."""

_SMILES = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]
_BROWS_UP = [ARKIT_INDEX[n] for n in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")]
_BROWS_DOWN = [ARKIT_INDEX["browDownLeft"], ARKIT_INDEX["browDownRight"]]


class SpeakerMotion:
    """History of the speaker's smile, brows and head, relative to running rest values."""

    def __init__(self) -> None:
        self.history = np.zeros((HISTORY, 6))
        """(64, 6) ring: smile, brow up, brow down from 0 to 1; pitch, yaw, roll in rad."""
        self.now = 0
        """Row of the ring that holds this frame."""
        self.since_smile = HISTORY
        """Frames since the speaker last smiled."""
        self._rest = np.zeros(3)
        self._head_rest = np.zeros(3)
        self._absent = HISTORY

    def step(self, face: Face) -> bool:
        """Add a frame. Returns whether a smile begins in it, after `HISTORY` frames without one."""
        self.now = (self.now + 1) % HISTORY
        row = self.history[self.now]
        if not face.state.present:
            self._absent = min(self._absent + 1, HISTORY)
            row[:] = 0.0
        else:
            b = face.blendshapes
            values = np.array([b[_SMILES].sum() / 2.0, b[_BROWS_UP].sum() / 3.0, b[_BROWS_DOWN].sum() / 2.0])
            values = np.minimum(np.maximum(values, 0.0), 1.0)
            if self._absent >= FPS:
                self._head_rest = np.array(face.rotation, np.float64)
                self._rest = np.minimum(values, 0.1)
            self._absent = 0
            # A running minimum: it falls at once and rises over a minute, so that a long smile stays a smile.
            self._rest += np.where(values < self._rest, 0.1, 0.0006) * (values - self._rest)
            self._head_rest += (face.rotation - self._head_rest) / 150.0
            row[:3] = np.minimum(np.maximum((values - self._rest - 0.07) / 0.6, 0.0), 1.0)
            row[HEAD] = np.minimum(np.maximum(face.rotation - self._head_rest, -0.35), 0.35)
        begins = row[SMILE] > 0.0 and self.since_smile >= HISTORY
        self.since_smile = 0 if row[SMILE] > 0.0 else min(self.since_smile + 1, HISTORY)
        return begins
