"""The speaker's smile, brows, head and distress over the last seconds, each relative to this speaker's rest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from react_ros.face import ARKIT_INDEX, ATTRIBUTE_INDEX, FPS, Face

Doubles = npt.NDArray[np.float64]

HISTORY = 64
"""Frames that a delayed response can reach back: 2.56 s."""
SMILE, BROW_UP, BROW_DOWN = 0, 1, 2
HEAD = slice(3, 6)
NEW_SMILE, OPEN_SMILE = 6, 7
"""Columns of `SpeakerMotion.history`."""

_SMILES = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]
_BROWS_UP = [ARKIT_INDEX[n] for n in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")]
_BROWS_DOWN = [ARKIT_INDEX["browDownLeft"], ARKIT_INDEX["browDownRight"]]

_REST_QUANTILE = 0.2
_REST_PRIOR = np.array([0.0, 0.13, 0.0])
"""Rest of smile, brow up and brow down of a person who is not known yet: about the median over people."""
_REST_PRIOR_FRAMES = np.array([10.0 * FPS, 0.2 * FPS, 4.0 * FPS])
"""Frames that the prior counts for. Brows at rest differ much between people, so that what is seen counts at once; a
smile in the first frame is a smile."""
_HIGHEST_REST = np.array([0.1, 0.75, 0.25])
"""However long it lasts, more than this is no rest: a smile that is held stays a smile."""
_REST_MEMORY = 60 * FPS
"""Time constant of the quantiles' memory, frames."""
_UPPER_LIP = [ARKIT_INDEX["mouthUpperUpLeft"], ARKIT_INDEX["mouthUpperUpRight"]]
_OPEN = (0.2, 0.5)
"""Raise of the upper lip, mean over about a third of a second, above which a smile is open, and fully open: syllables
raise the lip for shorter."""
_DEAD, _SPAN = np.array([0.04, 0.07, 0.07]), np.array([0.86, 0.6, 0.6])
"""Deviation from rest that is noise, and the range above it."""

_EVIDENCE = (0.2, 0.6)
"""Evidence of distress in a frame that counts nothing, and that counts fully."""
_LASTING_EVIDENCE = (0.3, 0.6)
"""The same of its running mean: a blink or a grimace of a third of a second is no distress."""


class SpeakerMotion:
    """History of the speaker's smile, brows and head, relative to their rest; and how distressed they look."""

    def __init__(self) -> None:
        self.history = np.zeros((HISTORY, 8))
        """(64, 8) ring: smile, brow up, brow down from 0 to 1; pitch, yaw, roll in rad; what of the smile is new; how
        open it is, 0 to 1."""
        self.now = 0
        """Row of the ring that holds this frame."""
        self.since_smile = HISTORY
        """Frames since the speaker last smiled."""
        self.distress = 0.0
        """0 to 1: 1 once signs of distress have lasted for .7 s, 0 a second or two after them, sooner with joy."""
        self.doubt = 0.0
        """0 to 1: signs of distress in this frame, or just before; at once, where `distress` waits."""
        self._evidence = 0.0
        """Running mean of the evidence, 0 to 1."""
        self._rest = _Rest()
        self._lasting = 0.0
        """What of the smile is not new: it follows a smile within a second, and is gone within a third of one."""
        self._lip = 0.0
        """Running mean of the upper lip's raise."""
        self._head_rest = np.zeros(3)
        self._absent = HISTORY

    def step(self, face: Face) -> bool:
        """Add a frame. Returns whether a smile begins in it, after `HISTORY` frames without one."""
        self.now = (self.now + 1) % HISTORY
        row = self.history[self.now]
        if not face.state.present:
            self._absent = min(self._absent + 1, HISTORY)
            self.doubt = 0.0
            self._add_evidence(0.0, 0.04)
            self._lip = 0.0
            row[:] = 0.0
        else:
            b = face.blendshapes
            values = np.array([b[_SMILES].sum() / 2.0, b[_BROWS_UP].sum() / 3.0, b[_BROWS_DOWN].sum() / 2.0])
            values = np.minimum(np.maximum(values, 0.0), 1.0)
            if self._absent >= FPS:
                self._head_rest = np.array(face.rotation, np.float64)
                self._rest = _Rest()
            self._absent = 0
            rest = self._rest.step(values)
            self._head_rest += (face.rotation - self._head_rest) / 150.0
            row[:3] = np.minimum(np.maximum((values - rest - _DEAD) / _SPAN, 0.0), 1.0)
            self._lip += 0.12 * (min(max(float(b[_UPPER_LIP].mean()), 0.0), 1.0) - self._lip)
            row[OPEN_SMILE] = min(_ramp(self._lip, *_OPEN), 2.0 * row[SMILE])
            row[HEAD] = np.minimum(np.maximum(face.rotation - self._head_rest, -0.35), 0.35)
            self._step_distress(face)
        behind = float(row[SMILE]) - self._lasting
        self._lasting += behind * (0.04 if behind > 0.0 else 0.12)
        row[NEW_SMILE] = max(behind, 0.0)
        begins = row[SMILE] > 0.0 and self.since_smile >= HISTORY
        self.since_smile = 0 if row[SMILE] > 0.0 else min(self.since_smile + 1, HISTORY)
        return begins

    def _step_distress(self, face: Face) -> None:
        a = np.minimum(np.maximum(face.attributes, 0.0), 1.0)
        happy = float(a[_HAPPY])
        # Knitted brows alone may be thought, and with joy they are laughter: the inner brows up or the corners of the
        # mouth down must come with them (FACS: AU1 + AU4, AU15).
        units = max(float(a[_AU15]), min(float(a[_AU1]), float(a[_AU4])))
        evidence = (float(a[_SAD] + a[_FEAR]) + 0.8 * float(a[_ANGER]) + 0.8 * units) * (1.0 - happy)
        seen = _ramp(evidence, *_EVIDENCE)
        self.doubt = max(seen, 0.8 * self.doubt)
        self._add_evidence(seen, 0.05 if seen > self._evidence else 0.04 + 0.08 * happy)

    def _add_evidence(self, seen: float, pace: float) -> None:
        self._evidence += pace * (seen - self._evidence)
        self.distress = _ramp(self._evidence, *_LASTING_EVIDENCE)


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


_AU1, _AU4, _AU15, _HAPPY, _SAD, _FEAR, _ANGER = (
    ATTRIBUTE_INDEX[name] for name in ("AU1", "AU4", "AU15", "happy", "sad", "fear", "anger")
)


class _Rest:
    """A low quantile of three signals over the last minute, beginning at the population's: constant memory."""

    _BINS = 40

    def __init__(self) -> None:
        self._rows = np.arange(3)
        self._counts = np.zeros((3, self._BINS))
        self._counts[self._rows, self._bin(_REST_PRIOR)] = _REST_PRIOR_FRAMES

    def step(self, values: Doubles) -> Doubles:
        """(3,) rest after these (3,) values from 0 to 1."""
        self._counts *= 1.0 - 1.0 / _REST_MEMORY
        self._counts[self._rows, self._bin(values)] += 1.0
        below = np.cumsum(self._counts, axis=1)
        target = _REST_QUANTILE * below[:, -1]
        at = (below < target[:, None]).sum(axis=1)
        inside = self._counts[self._rows, at]
        share = (target - below[self._rows, at] + inside) / np.maximum(inside, 1e-12)
        # The lowest bin is rest itself: a smile channel at rest is 0, not a part of the bin.
        rest = np.where(at > 0, (at + share) / self._BINS, 0.0)
        return np.minimum(rest, _HIGHEST_REST)

    def _bin(self, values: Doubles) -> npt.NDArray[np.intp]:
        return np.minimum(values * self._BINS, self._BINS - 1).astype(np.intp)
