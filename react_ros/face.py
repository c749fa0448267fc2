"""Definitions shared by the whole project: names and layouts of face data, angles, `SpeakerFrame`, `Reaction`.

Sign conventions. Axes are right-handed: x to the right in the image of a person who faces the camera (to that
person's own left), y up, z out of the face towards the camera. `rotation` is (pitch, yaw, roll) in rad, right-handed
about x, y, z: pitch > 0 lowers the chin (first half of a nod), yaw > 0 turns to the face's own left, roll > 0 tilts
the head to its own right. The rotation matrix is R = Ry(yaw) Rx(pitch) Rz(roll). `translation` is in m along the same
axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

FPS = 25
"""Frames a second, in and out (REACT 2023/2024)."""
FRAME_NS = 1_000_000_000 // FPS
"""Length of a frame in ns."""
SAMPLE_RATE = 16_000
"""Sample rate of audio inside the project, Hz; mono."""
FRAME_SAMPLES = SAMPLE_RATE // FPS
"""Audio samples in a frame: 640."""

ARKIT = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""Apple ARKit's 52 blendshapes in Apple's order: the project's canonical expression space ("arkit52")."""
ARKIT_SCHEME = "arkit52"
FACEVERSE_SCHEME = "faceverse"
"""The 52 FaceVerse coefficients of the REACT corpora: not the same space as ARKit's; no mapping is published."""

ARKIT_INDEX: Mapping[str, int] = {name: i for i, name in enumerate(ARKIT)}

ACTION_UNITS = (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24, 25, 26)
ACTION_UNIT_NAMES = tuple(f"AU{n}" for n in ACTION_UNITS)
AFFECT_NAMES = ("valence", "arousal")
EXPRESSION_NAMES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
ATTRIBUTE_NAMES = ACTION_UNIT_NAMES + AFFECT_NAMES + EXPRESSION_NAMES
"""The 25 facial attributes of REACT 2024, in the order of its Emotion csv files."""
ATTRIBUTES = len(ATTRIBUTE_NAMES)
ATTRIBUTE_INDEX: Mapping[str, int] = {name: i for i, name in enumerate(ATTRIBUTE_NAMES)}

CIRCUMPLEX = np.array(
    [(0.0, 0.0), (0.8, 0.5), (-0.6, -0.3), (0.4, 0.7), (-0.6, 0.6), (-0.6, 0.35), (-0.5, 0.6), (-0.4, 0.2)]
)
"""(8, 2) valence and arousal of `EXPRESSION_NAMES`, rounded from Russell & Mehrabian (1977); contempt by hand."""
CIRCUMPLEX.setflags(write=False)

AU = slice(0, 15)
"""Action units within the 25 attributes, 0 to 1."""
VA = slice(15, 17)
"""Valence and arousal within the 25 attributes, -1 to 1."""
EXPRESSIONS = slice(17, 25)
"""Expression probabilities within the 25 attributes, 0 to 1."""

EXPRESSION_58 = slice(0, 52)
"""Expression coefficients within the 58 of the 3DMM."""
ROTATION_58 = slice(52, 55)
"""Head rotation within the 58 of the 3DMM, rad."""
TRANSLATION_58 = slice(55, 58)
"""Head translation within the 58 of the 3DMM, m."""
FACE_MODEL = 58

NEUTRAL_ATTRIBUTES: Floats = np.zeros(ATTRIBUTES, np.float32)
"""Attributes of a neutral face: no action unit, valence and arousal 0, neutral with probability 1. Read-only."""
NEUTRAL_ATTRIBUTES[ATTRIBUTE_INDEX["neutral"]] = 1.0
NEUTRAL_ATTRIBUTES.setflags(write=False)


def arkit_from_names(names: Sequence[str], weights: Sequence[float] | npt.NDArray[np.floating]) -> Floats:
    """Named blendshape weights in the order of `ARKIT`; missing ones are 0 (MediaPipe has no tongueOut).

    names: n names of ARKit, or "_neutral" (MediaPipe's first category, not a blendshape: ignored).
    weights: (n,), any range; clipped to [0, 1].
    Returns (52,) float32. Raises ValueError for an unknown or repeated name, or different lengths.
    """
    if len(names) != len(weights):
        raise ValueError(f"{len(names)} blendshape names but {len(weights)} weights")
    out = np.zeros(len(ARKIT), np.float32)
    seen: set[str] = set()
    for name, weight in zip(names, weights, strict=True):
        if name == "_neutral":
            continue
        if name not in ARKIT_INDEX:
            raise ValueError(f"unknown blendshape {name!r}: expected one of ARKit's 52 names")
        if name in seen:
            raise ValueError(f"blendshape {name!r} is named twice")
        seen.add(name)
        out[ARKIT_INDEX[name]] = weight
    return np.clip(out, 0.0, 1.0)


def rotation_matrix(rotation: Sequence[float] | npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(3, 3) matrix R = Ry(yaw) Rx(pitch) Rz(roll) of a (pitch, yaw, roll) in rad."""
    pitch, yaw, roll = (float(a) for a in rotation)
    cx, sx, cy, sy, cz, sz = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    return np.array(
        [
            [cy * cz + sy * sx * sz, -cy * sz + sy * sx * cz, sy * cx],
            [cx * sz, cx * cz, -sx],
            [-sy * cz + cy * sx * sz, sy * sz + cy * sx * cz, cy * cx],
        ]
    )


def angles_from_matrix(matrix: npt.NDArray[np.floating]) -> Floats:
    """(pitch, yaw, roll) in rad of a (3, 3) rotation; the inverse of `rotation_matrix` for |pitch| < pi/2."""
    m = np.asarray(matrix, np.float64)
    pitch = np.arcsin(np.clip(-m[1, 2], -1.0, 1.0))
    yaw = np.arctan2(m[0, 2], m[2, 2])
    roll = np.arctan2(m[1, 0], m[1, 1])
    return np.array([pitch, yaw, roll], np.float32)


class FaceState(IntEnum):
    """State of the speaker's face in a frame (values as in SpeakerFeatures.msg)."""

    MISSING = 0
    """No image yet, or the image stream is stale."""
    NOBODY = 1
    """Images without a face."""
    LOST = 2
    """The speaker's face has just disappeared; the values are the last ones."""
    HELD = 3
    """No new image for this frame; the values are the last ones."""
    TRACKED = 4
    """Detected in the image of this frame."""

    @property
    def present(self) -> bool:
        """Whether a speaker is present, or was a moment ago."""
        return self >= FaceState.LOST


class SoundState(IntEnum):
    """State of the speaker's sound in a frame (values as in SpeakerFeatures.msg)."""

    MISSING = 0
    SILENCE = 1
    SPEECH = 2


@dataclass(slots=True)
class Face:
    """A speaker's face in one frame. Arrays float32."""

    state: FaceState = FaceState.MISSING
    blendshapes: Floats = field(default_factory=lambda: np.zeros(52, np.float32))
    """(52,) in the order of `ARKIT`, 0 to 1."""
    rotation: Floats = field(default_factory=lambda: np.zeros(3, np.float32))
    """(3,) rad: pitch, yaw, roll; 0 faces the camera."""
    translation: Floats = field(default_factory=lambda: np.zeros(3, np.float32))
    """(3,) m in the camera's frame; z < 0 is in front of the camera."""
    attributes: Floats = field(default_factory=NEUTRAL_ATTRIBUTES.copy)
    """(25,) in the order of `ATTRIBUTE_NAMES`; derived by rule from blendshapes and landmarks."""
    landmarks: Floats | None = None
    """(478, 3) in fractions of the image's width (x, z) and height (y), or None."""
    count: int = 0
    """Number of faces in the image."""


@dataclass(slots=True)
class Sound:
    """A speaker's sound in one frame: a causal window of 640 samples at 16 kHz. Arrays float32."""

    state: SoundState = SoundState.MISSING
    mfcc: Floats = field(default_factory=lambda: np.zeros(26, np.float32))
    """(26,) mel-frequency cepstral coefficients."""
    mfcc_delta: Floats = field(default_factory=lambda: np.zeros(26, np.float32))
    """(26,) causal slope of the MFCC per frame."""
    log_energy: float = -16.0
    """Natural logarithm of the mean square, full scale 1; at least -16."""
    f0: float = 0.0
    """Fundamental frequency in Hz; 0 where unvoiced."""
    voicing: float = 0.0
    """0 to 1."""
    speech_probability: float = 0.0
    """0 to 1."""
    embedding: Floats | None = None
    """(768,) wav2vec 2.0 features of a trailing window; None without weights."""


@dataclass(slots=True)
class SpeakerFrame:
    """The human speaker in frame k; 25 frames a second."""

    index: int
    """k, from 0."""
    stamp_ns: int
    """Time of the frame in ns since the epoch: k / 25 s after the first."""
    face: Face = field(default_factory=Face)
    sound: Sound = field(default_factory=Sound)

    @property
    def face_model(self) -> Floats:
        """(58,) coefficients in the 3DMM layout: 52 ARKit weights, rotation in rad, translation in m."""
        return face_model(self.face.blendshapes, self.face.rotation, self.face.translation)


@dataclass(slots=True)
class Reaction:
    """The reactions of S sampled listeners to frame k. Arrays float32."""

    index: int
    """k of the speaker frame."""
    stamp_ns: int
    """Time of that speaker frame, ns since the epoch."""
    blendshapes: Floats
    """(S, 52) in the order of `ARKIT`, 0 to 1."""
    rotation: Floats
    """(S, 3) rad from the face's rest: pitch, yaw, roll."""
    translation: Floats
    """(S, 3) m from the face's rest."""
    attributes: Floats
    """(S, 25) in the order of `ATTRIBUTE_NAMES`."""
    live: bool = True
    """False where no speaker is present: idle life."""
    action_chunk: int = -1
    """Index of the speaker frame after which the action chunk in effect was begun; -1 for a chunk begun before frame
    0, and for systems without action chunks."""

    @property
    def samples(self) -> int:
        """S, the number of listeners."""
        return self.blendshapes.shape[0]

    @property
    def face_model(self) -> Floats:
        """(S, 58) coefficients in the 3DMM layout."""
        return face_model(self.blendshapes, self.rotation, self.translation)


def face_model(blendshapes: Floats, rotation: Floats, translation: Floats) -> Floats:
    """Join (…, 52), (…, 3) rad and (…, 3) m into the (…, 58) layout of the REACT 3DMM."""
    return np.concatenate([blendshapes, rotation, translation], axis=-1, dtype=np.float32)


def split_face_model(coefficients: npt.NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    """Split (…, 58) into expression (…, 52), rotation (…, 3) rad and translation (…, 3) m.

    Raises ValueError where the last axis is not 58.
    """
    c = np.asarray(coefficients, np.float32)
    if c.shape[-1:] != (FACE_MODEL,):
        raise ValueError(f"a face model frame has 58 coefficients, not {c.shape[-1] if c.ndim else 'a scalar'}")
    return c[..., EXPRESSION_58], c[..., ROTATION_58], c[..., TRANSLATION_58]


def join_attributes(
    action_units: npt.NDArray[np.floating],
    valence_arousal: npt.NDArray[np.floating],
    expressions: npt.NDArray[np.floating],
) -> Floats:
    """Join (…, 15) action units, (…, 2) valence and arousal and (…, 8) expressions into (…, 25)."""
    out = np.concatenate([action_units, valence_arousal, expressions], axis=-1, dtype=np.float32)
    if out.shape[-1] != ATTRIBUTES:
        raise ValueError(f"15 + 2 + 8 attributes expected, not {out.shape[-1]} in all")
    return out
