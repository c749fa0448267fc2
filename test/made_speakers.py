"""Hand-made speakers and listeners of which every figure of responsiveness is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from react_ros.face import (
    ARKIT_INDEX,
    FRAME_NS,
    NEUTRAL_ATTRIBUTES,
    Face,
    FaceState,
    Reaction,
    Sound,
    SoundState,
    SpeakerFrame,
)
from react_ros.generators.contract import Generator, GeneratorInfo, Stream

SMILE = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]
Intervals = Sequence[tuple[int, int]]
Floats = npt.NDArray[np.floating]


def speaker(
    frames: int, smiles: Intervals = (), talk: Intervals = (), *, level: float = 0.8, sound: bool = True
) -> list[SpeakerFrame]:
    """A speaker who smiles at `level` and talks in these intervals of frames, and does nothing else."""
    out = []
    for k in range(frames):
        shapes = np.zeros(52, np.float32)
        shapes[SMILE] = level * any(a <= k < b for a, b in smiles)
        face = Face(FaceState.TRACKED, shapes, attributes=NEUTRAL_ATTRIBUTES.copy(), count=1)
        talks = any(a <= k < b for a, b in talk)
        heard = Sound(SoundState.SPEECH if talks else SoundState.SILENCE, speech_probability=float(talks))
        out.append(SpeakerFrame(k, k * FRAME_NS, face, heard if sound else Sound()))
    return out


def smile_of(frames: Iterable[SpeakerFrame]) -> Floats:
    """(T,) the speaker's smile."""
    return np.array([f.face.blendshapes[SMILE].mean() for f in frames])


def faces(smile: Floats, samples: int = 3) -> Floats:
    """(T, S, 52) faces that only smile: (T,) the same for all samples."""
    out = np.zeros((len(smile), samples, 52), np.float32)
    out[:, :, SMILE] = smile[:, None, None]
    return out


def delayed(x: Floats, frames: int) -> Floats:
    """x, so many frames later."""
    return np.concatenate([np.full(frames, x[0]), x[: len(x) - frames]])


def nodding(frames: int, at: Iterable[int], degrees: float = 4.0) -> Floats:
    """(T,) pitch, rad, of a head that is lowered and raised again within 9 frames around each of these."""
    pitch = np.zeros(frames)
    dip = 0.5 + 0.5 * np.cos(np.pi * np.arange(-4, 5) / 5)
    for k in at:
        pitch[k - 4 : k + 5] += np.deg2rad(degrees) * dip
    return pitch


class Mirror(Generator):
    """Returns the speaker's smile at once, times `gain`, and never moves its head."""

    info = GeneratorInfo("mirror", "a test's", ("blendshapes",))

    def __init__(self, gain: float = 0.7) -> None:
        self.gain = gain

    def start(self, *, samples: int = 1, seed: int = 0) -> Stream:
        return _MirrorStream(self.gain, samples)


class _MirrorStream(Stream):
    def __init__(self, gain: float, samples: int) -> None:
        self.samples, self.seed, self._gain = samples, 0, gain

    def step(self, frame: SpeakerFrame) -> Reaction:
        shapes = np.zeros((self.samples, 52), np.float32)
        if frame.face.state.present:
            shapes[:, SMILE] = self._gain * frame.face.blendshapes[SMILE]
        still = np.zeros((self.samples, 3), np.float32)
        attributes = np.repeat(NEUTRAL_ATTRIBUTES[None], self.samples, axis=0)
        return Reaction(frame.index, frame.stamp_ns, shapes, still, still.copy(), attributes)
