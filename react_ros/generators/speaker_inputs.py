"""Speaker frames as rows of numbers for learned listeners; live and in training the same code."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from react_ros.face import ARKIT, ATTRIBUTES, FPS, Floats, SoundState, SpeakerFrame
from react_ros.generators.sanitize import sanitize

_SHAPES = len(ARKIT)
FACE_INPUTS = slice(0, 2 * _SHAPES + 6)
"""52 blendshapes; the same minus the speaker's running mean; rotation (rad) and translation (m) minus theirs."""
SOUND_INPUTS = slice(FACE_INPUTS.stop, FACE_INPUTS.stop + 56)
"""26 MFCC, their 26 slopes, log energy, voicing, ln of pitch minus the speaker's mean, speech probability."""
FACE_PRESENT = SOUND_INPUTS.stop
SOUND_PRESENT = FACE_PRESENT + 1
INPUTS = SOUND_PRESENT + 1
"""Width of a row; its last two columns are 1 where there is a face, and where there is sound, else 0."""

REST_FRAMES = 10 * FPS
"""Time constant of the running means of a face: what does not change in 10 s is the person's rest."""
PITCH_FRAMES = 5 * FPS
"""Time constant, in voiced frames, of the speaker's mean pitch."""
_BOUND = 100.0
"""Beyond any measured value of these features; a faulty sender's 1e30 must not stay in a running mean."""


class SpeakerInputs:
    """Turns speaker frames into rows, with running means of this speaker's face and pitch.

    A missing block (no face, no sound, or one with invalid values) is 0, and so is its presence column.
    """

    def __init__(self) -> None:
        self._row = np.zeros(INPUTS, np.float32)
        self._rest = np.zeros(_SHAPES + 6)
        self._face_frames = 0
        """Frames in `_rest`, up to REST_FRAMES."""
        self._pitch = 0.0
        self._voiced_frames = 0

    def step(self, frame: SpeakerFrame) -> Floats:
        """(INPUTS,) row of frame k, valid until the next step."""
        frame = sanitize(frame)
        row = self._row
        row[:] = 0.0
        if frame.face.state.present:
            self._add_face(frame, row)
        if frame.sound.state != SoundState.MISSING:
            self._add_sound(frame, row)
        return row

    def _add_face(self, frame: SpeakerFrame, row: Floats) -> None:
        face = np.clip(frame.face_model.astype(np.float64), -_BOUND, _BOUND)
        self._face_frames = min(self._face_frames + 1, REST_FRAMES)
        self._rest += (face - self._rest) / self._face_frames
        row[:_SHAPES] = face[:_SHAPES]
        row[_SHAPES : FACE_INPUTS.stop] = face - self._rest
        row[FACE_PRESENT] = 1.0

    def _add_sound(self, frame: SpeakerFrame, row: Floats) -> None:
        sound = frame.sound
        out = row[SOUND_INPUTS]
        out[:26] = sound.mfcc
        out[26:52] = sound.mfcc_delta
        out[52] = sound.log_energy
        out[53] = sound.voicing
        if sound.f0 > 0.0:
            pitch = float(np.log(sound.f0))
            self._voiced_frames = min(self._voiced_frames + 1, PITCH_FRAMES)
            self._pitch += (pitch - self._pitch) / self._voiced_frames
            out[54] = pitch - self._pitch
        out[55] = sound.speech_probability
        np.clip(out, -_BOUND, _BOUND, out=out)
        row[SOUND_PRESENT] = 1.0


def speaker_inputs(frames: Iterable[SpeakerFrame]) -> Floats:
    """(T, INPUTS) rows of a clip's frames."""
    inputs = SpeakerInputs()
    rows = [inputs.step(frame).copy() for frame in frames]
    return np.stack(rows) if rows else np.zeros((0, INPUTS), np.float32)


class AttributeInputs:
    """Turns speaker frames into rows of the speaker's 25 attributes.

    A face that is missing or has invalid values is a row of 0. No real face has such a row: its expressions sum to 1.
    """

    def step(self, frame: SpeakerFrame) -> Floats:
        """(25,) row of frame k, in the order of `ATTRIBUTE_NAMES`, -1 to 1."""
        face = sanitize(frame).face
        if not face.state.present:
            return np.zeros(ATTRIBUTES, np.float32)
        return np.clip(face.attributes, -1.0, 1.0, dtype=np.float32)


def attribute_inputs(frames: Iterable[SpeakerFrame]) -> Floats:
    """(T, 25) rows of a clip's frames."""
    inputs = AttributeInputs()
    rows = [inputs.step(frame) for frame in frames]
    return np.stack(rows) if rows else np.zeros((0, ATTRIBUTES), np.float32)
