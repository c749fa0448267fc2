"""What a generator checks at its border: parameters a person gave, and frames that carry NaN."""

from __future__ import annotations

import math

import numpy as np

from react_ros.face import FPS, Face, FaceState, Sound, SoundState, SpeakerFrame


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


def trusted(frame: SpeakerFrame) -> SpeakerFrame:
    """The frame itself where all is finite; else one whose broken half, face or sound, is missing.

    Perception never sends NaN, but a recording or another node may, and a filter that once took it never recovers.
    """
    face, sound = frame.face, frame.sound
    face_ok = bool(
        np.isfinite(face.blendshapes).all()
        and np.isfinite(face.rotation).all()
        and np.isfinite(face.translation).all()
        and np.isfinite(face.attributes).all()
    )
    sound_ok = bool(
        math.isfinite(sound.f0 + sound.log_energy + sound.voicing + sound.speech_probability)
        and np.isfinite(sound.mfcc).all()
        and np.isfinite(sound.mfcc_delta).all()
        and (sound.embedding is None or np.isfinite(sound.embedding).all())
    )
    if face_ok and sound_ok:
        return frame
    return SpeakerFrame(frame.index, frame.stamp_ns, face if face_ok else Face(), sound if sound_ok else Sound())


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
