"""What a generator checks at its border: parameters a person gave, and frames that carry NaN."""

from __future__ import annotations

import math

import numpy as np

from react_ros.face import FPS, Face, FaceState, Sound, SoundState, SpeakerFrame

DEVICES = ("auto", "cpu", "cuda")
"""Where a learned generator may run; auto is CUDA where there is a usable GPU."""


def in_range(name: str, value: object, low: float, high: float, unit: str = "") -> None:
    """Raise ValueError, in one sentence, unless `value` is a finite number in [low, high]."""
    wanted = f"a number from {low:g} to {high:g}{f' {unit}' if unit else ''}"
    if (
        not isinstance(value, (int, float, np.floating, np.integer))
        or isinstance(value, bool)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise ValueError(f"{name} is {value!r}: it must be {wanted}")


def whole_in_range(name: str, value: object, low: int, high: int, unit: str = "") -> None:
    """Raise ValueError, in one sentence, unless `value` is a whole number in [low, high]."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(
            f"{name} is {value!r}: it must be a whole number from {low} to {high}{f' {unit}' if unit else ''}"
        )


_LIMITS = {
    "blendshapes": 10.0, "rotation": 7.0, "translation": 100.0, "attributes": 10.0,
    "mfcc": 1e4, "mfcc_delta": 1e4, "embedding": 1e4,
    "log_energy": 100.0, "f0": 1e5, "voicing": 10.0, "speech_probability": 10.0,
}  # fmt: skip
"""No measurement lies beyond; a sender's 1e30 would stay in a running mean for minutes."""


def trusted(frame: SpeakerFrame) -> SpeakerFrame:
    """The frame itself where it can be true; else one whose broken half, face or sound, is missing.

    Perception never sends NaN or 1e30, but a recording or another node may, and a filter that once took one of them
    does not recover.
    """
    face, sound = frame.face, frame.sound
    face_ok = all(_believable(face, name) for name in ("blendshapes", "rotation", "translation", "attributes"))
    sound_ok = all(abs(getattr(sound, name)) <= _LIMITS[name] for name in _NUMBERS) and all(
        _believable(sound, name) for name in ("mfcc", "mfcc_delta", "embedding")
    )
    if face_ok and sound_ok:
        return frame
    return SpeakerFrame(frame.index, frame.stamp_ns, face if face_ok else Face(), sound if sound_ok else Sound())


_NUMBERS = ("log_energy", "f0", "voicing", "speech_probability")


def _believable(part: Face | Sound, name: str) -> bool:
    values, limit = getattr(part, name), _LIMITS[name]
    # Comparisons with NaN are false.
    return values is None or bool(values.max() <= limit and values.min() >= -limit)


class Presence:
    """Whether somebody is there to listen to: seen, or, without a camera, heard within the last five seconds.

    A camera that sees nobody is believed over a voice: that may be a radio.
    """

    HOLD = 5 * FPS

    def __init__(self) -> None:
        self._since_heard = self.HOLD

    def step(self, frame: SpeakerFrame) -> bool:
        heard = frame.sound.state == SoundState.SPEECH
        self._since_heard = 0 if heard else min(self._since_heard + 1, self.HOLD)
        blind = frame.face.state == FaceState.MISSING
        return frame.face.state.present or (blind and self._since_heard < self.HOLD)
