"""Speaker frames as rows of numbers for learned listeners; live and in training the same code.

There are two schemes of rows (`InputScheme`), and weights name the one they were trained on: `RUNNING_MEAN`, of
version 0.1, and `PERSON`, which is relative to the person from the first frame on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from react_ros.config import did_you_mean
from react_ros.face import ARKIT, ATTRIBUTES, FPS, Floats, SoundState, SpeakerFrame
from react_ros.generators.sanitize import sanitize

_SHAPES = len(ARKIT)


class RowMaker(Protocol):
    """Turns the frames of one stream into rows."""

    def step(self, frame: SpeakerFrame) -> Floats:
        """(inputs,) row of frame k, valid until the next step."""
        ...


@dataclass(frozen=True, slots=True)
class InputScheme:
    """The columns of a row: those of the face, those of the sound, then the two columns of presence."""

    name: str
    shapes: tuple[slice, ...]
    """Blocks of 52 columns, each in the order of `ARKIT`."""
    pose: slice
    """Rotation and translation."""
    attributes: slice
    """The 25 attributes; empty where the row has none."""
    face: slice
    """All columns of the face."""
    sound: slice
    """All columns of the sound."""
    mfcc: slice
    """MFCC and their slopes."""
    units: tuple[float, float, float, float]
    """Typical spread of a column of the blocks of shapes (raw, relative), of the attributes, and of the MFCC."""

    @property
    def face_present(self) -> int:
        """The column that is 1 where there is a face, else 0."""
        return self.sound.stop

    @property
    def sound_present(self) -> int:
        """The column that is 1 where there is sound, else 0."""
        return self.sound.stop + 1

    @property
    def inputs(self) -> int:
        """Width of a row."""
        return self.sound.stop + 2

    def start(self) -> RowMaker:
        """Rows of a new stream."""
        return SpeakerInputs() if self.name == RUNNING_MEAN.name else PersonInputs()

    def rows(self, frames: Iterable[SpeakerFrame]) -> Floats:
        """(T, inputs) rows of a clip's frames."""
        maker = self.start()
        rows = [maker.step(frame).copy() for frame in frames]
        return np.stack(rows) if rows else np.zeros((0, self.inputs), np.float32)


FACE_INPUTS = slice(0, 2 * _SHAPES + 6)
"""52 blendshapes; the same minus the speaker's running mean; rotation (rad) and translation (m) minus theirs."""
SOUND_INPUTS = slice(FACE_INPUTS.stop, FACE_INPUTS.stop + 56)
"""26 MFCC, their 26 slopes, log energy, voicing, ln of pitch minus the speaker's mean, speech probability."""
FACE_PRESENT = SOUND_INPUTS.stop
SOUND_PRESENT = FACE_PRESENT + 1
INPUTS = SOUND_PRESENT + 1
"""Width of a row; its last two columns are 1 where there is a face, and where there is sound, else 0."""

RUNNING_MEAN = InputScheme(
    name="running_mean",
    shapes=(slice(0, _SHAPES), slice(_SHAPES, 2 * _SHAPES)),
    pose=slice(2 * _SHAPES, FACE_INPUTS.stop),
    attributes=slice(FACE_INPUTS.stop, FACE_INPUTS.stop),
    face=FACE_INPUTS,
    sound=SOUND_INPUTS,
    mfcc=slice(SOUND_INPUTS.start, SOUND_INPUTS.start + 52),
    units=(0.1, 0.1, 0.2, 3.0),
)
"""The rows of version 0.1 (`SpeakerInputs`), for weights trained then."""

_FACE = 2 * _SHAPES + 6 + ATTRIBUTES
PERSON = InputScheme(
    name="person",
    shapes=(slice(0, _SHAPES), slice(_SHAPES, 2 * _SHAPES)),
    pose=slice(2 * _SHAPES, 2 * _SHAPES + 6),
    attributes=slice(2 * _SHAPES + 6, _FACE),
    face=slice(0, _FACE),
    sound=slice(_FACE, _FACE + 58),
    mfcc=slice(_FACE, _FACE + 52),
    units=(0.1, 1.0, 0.2, 0.5),
)
"""Rows relative to the person (`PersonInputs`)."""

SCHEMES = {scheme.name: scheme for scheme in (RUNNING_MEAN, PERSON)}


def input_scheme(name: str) -> InputScheme:
    """The scheme of a name. Raises ValueError for an unknown one."""
    if name not in SCHEMES:
        raise ValueError(f"there are no rows {name!r}{did_you_mean(name, SCHEMES)}: there are {', '.join(SCHEMES)}")
    return SCHEMES[name]


REST_FRAMES = 10 * FPS
"""Time constant of the running means of a face: what does not change in 10 s is the person's rest."""
PITCH_FRAMES = 5 * FPS
"""Time constant, in voiced frames, of the speaker's mean pitch."""
_BOUND = 100.0
"""Beyond any measured value of these features; a faulty sender's 1e30 must not stay in a running mean."""


class _BlockRows:
    """Rows of a face block and a sound block, each 0 where it is missing or holds invalid values."""

    def __init__(self, inputs: int) -> None:
        self._row = np.zeros(inputs, np.float32)

    def step(self, frame: SpeakerFrame) -> Floats:
        """(inputs,) row of frame k, valid until the next step."""
        frame = sanitize(frame)
        row = self._row
        row[:] = 0.0
        if frame.face.state.present:
            self._add_face(frame, row)
        if frame.sound.state != SoundState.MISSING:
            self._add_sound(frame, row)
        return row

    def _add_face(self, frame: SpeakerFrame, row: Floats) -> None:
        raise NotImplementedError

    def _add_sound(self, frame: SpeakerFrame, row: Floats) -> None:
        raise NotImplementedError


class SpeakerInputs(_BlockRows):
    """Turns speaker frames into rows, with running means of this speaker's face and pitch.

    A missing block (no face, no sound, or one with invalid values) is 0, and so is its presence column.
    """

    def __init__(self) -> None:
        super().__init__(INPUTS)
        self._rest = np.zeros(_SHAPES + 6)
        self._face_frames = 0
        """Frames in `_rest`, up to REST_FRAMES."""
        self._pitch = 0.0
        self._voiced_frames = 0

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


@dataclass(frozen=True, slots=True)
class Population:
    """Statistics of real people as perception reports them (generators/population.json names the sample)."""

    rest: npt.NDArray[np.float64]
    """(58,) a person's 20th percentile, median over people; blendshapes, rad, m."""
    highest_rest: npt.NDArray[np.float64]
    """(58,) the same, 95th percentile over people."""
    deviation: npt.NDArray[np.float64]
    """(58,) standard deviation within a person."""
    mfcc_mean: npt.NDArray[np.float64]
    """(26,) in speech, median over people."""
    mfcc_deviation: npt.NDArray[np.float64]
    """(26,) in speech."""
    log_energy: float
    """In speech."""
    ln_f0: float
    """ln of Hz."""


@cache
def population() -> Population:
    """The shipped statistics."""
    stored = json.loads(Path(__file__).with_name("population.json").read_text("utf-8"))
    arrays = {
        name: np.array(stored[name]) for name in ("rest", "highest_rest", "deviation", "mfcc_mean", "mfcc_deviation")
    }
    for array in arrays.values():
        array.setflags(write=False)
    return Population(**arrays, log_energy=stored["log_energy_in_speech"], ln_f0=float(np.log(stored["median_f0"])))


class PersonInputs(_BlockRows):
    """Turns speaker frames into rows that are relative to the person, from the first frame on.

    Face: 52 blendshapes; the same minus the person's rest, in units of their spread; rotation and translation minus
    their running means, in units of people's spread; the 25 attributes. Sound: MFCC minus the speaker's running mean in
    speech, and their slopes, in units of people's spread; log energy minus that of the speaker's speech; voicing; ln of
    pitch minus the speaker's mean; speech probability; how long the speaker has been talking, and silent, in s,
    compressed to 0 to 1. Rest, spread and means begin as those of people in general (`population`), so that a smile in
    the first frame is a smile. A missing block (no face, no sound, or invalid values) is 0, and so is its presence
    column.
    """

    REST_DOWN, REST_UP = 1.0 / (1.0 * FPS), 1.0 / (40.0 * FPS)
    """Weights a frame with which the rest follows a lower, and a higher value: it nears a lower quantile."""
    PRIOR_FRAMES = 10 * FPS
    """Frames for which the population's spread of the face counts."""
    SPREAD_FRAMES = 60 * FPS
    """Memory of the spread."""
    SPEECH_PRIOR_FRAMES = 2 * FPS
    """Frames in speech for which the population's mean cepstrum and energy count."""
    SPEECH_FRAMES = 20 * FPS
    """Memory of the mean cepstrum and energy."""
    LEAST_DEVIATION = 0.02
    """Of a blendshape: channels that hardly move are not amplified."""
    BOUND = 8.0
    """Bound of all relative values, in units of spread."""

    def __init__(self) -> None:
        people = population()
        super().__init__(PERSON.inputs)
        self._rest = people.rest[:_SHAPES].copy()
        self._highest = people.highest_rest[:_SHAPES]
        self._variance = np.maximum(people.deviation[:_SHAPES], self.LEAST_DEVIATION) ** 2
        self._pose = np.zeros(6)
        self._pose_unit = np.maximum(people.deviation[_SHAPES:], 1e-3)
        self._face_frames = 0
        self._cepstrum, self._cepstrum_unit = people.mfcc_mean.copy(), people.mfcc_deviation
        self._energy = people.log_energy
        self._speech_frames = 0
        self._pitch, self._voiced_frames = people.ln_f0, 0
        self._talk = self._silence = 0

    def _add_face(self, frame: SpeakerFrame, row: Floats) -> None:
        face = np.clip(frame.face_model.astype(np.float64), -_BOUND, _BOUND)
        shapes, pose = face[:_SHAPES], face[_SHAPES:]
        self._rest += np.where(shapes < self._rest, self.REST_DOWN, self.REST_UP) * (shapes - self._rest)
        np.minimum(self._rest, self._highest, out=self._rest)
        moved = shapes - self._rest
        self._face_frames += 1
        memory = min(self.PRIOR_FRAMES + self._face_frames, self.SPREAD_FRAMES)
        self._variance += (moved**2 - self._variance) / memory
        spread = np.sqrt(np.maximum(self._variance, self.LEAST_DEVIATION**2))
        self._pose += (pose - self._pose) / min(self._face_frames, REST_FRAMES)
        row[PERSON.shapes[0]] = shapes
        row[PERSON.shapes[1]] = np.clip(moved / spread, -self.BOUND, self.BOUND)
        row[PERSON.pose] = np.clip((pose - self._pose) / self._pose_unit, -self.BOUND, self.BOUND)
        row[PERSON.attributes] = np.clip(frame.face.attributes, -1.0, 1.0)
        row[PERSON.face_present] = 1.0

    def _add_sound(self, frame: SpeakerFrame, row: Floats) -> None:
        sound = frame.sound
        out = row[PERSON.sound]
        if sound.speech_probability > 0.5:
            self._speech_frames += 1
            memory = min(self.SPEECH_PRIOR_FRAMES + self._speech_frames, self.SPEECH_FRAMES)
            self._cepstrum += (np.clip(sound.mfcc, -_BOUND, _BOUND) - self._cepstrum) / memory
            self._energy += (sound.log_energy - self._energy) / memory
            self._talk, self._silence = self._talk + 1, 0
        else:
            self._silence += 1
            if self._silence > FPS // 5:
                self._talk = 0
        out[:26] = (sound.mfcc - self._cepstrum) / self._cepstrum_unit
        out[26:52] = sound.mfcc_delta / self._cepstrum_unit
        out[52] = 0.5 * (sound.log_energy - self._energy)
        out[53] = sound.voicing
        if sound.f0 > 0.0:
            pitch = float(np.log(sound.f0))
            self._voiced_frames = min(self._voiced_frames + 1, PITCH_FRAMES)
            # The first second's mean is that of people in general, in part.
            self._pitch += (pitch - self._pitch) / (self._voiced_frames + min(FPS // 4, PITCH_FRAMES))
            out[54] = 4.0 * (pitch - self._pitch)
        out[55] = sound.speech_probability
        out[56], out[57] = 1.0 - np.exp(-self._talk / (2.0 * FPS)), 1.0 - np.exp(-self._silence / (0.5 * FPS))
        np.clip(out, -self.BOUND, self.BOUND, out=out)
        row[PERSON.sound_present] = 1.0


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
