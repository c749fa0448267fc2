"""Replaces a face or sound with impossible values by a missing one."""

from __future__ import annotations

from react_ros.face import Face, Sound, SpeakerFrame

_FACE_FIELDS = ("blendshapes", "rotation", "translation", "attributes")
_SOUND_NUMBERS = ("log_energy", "f0", "voicing", "speech_probability")
_SOUND_ARRAYS = ("mfcc", "mfcc_delta", "embedding")
_LIMITS = {
    "blendshapes": 10.0, "rotation": 7.0, "translation": 100.0, "attributes": 10.0,
    "mfcc": 1e4, "mfcc_delta": 1e4, "embedding": 1e4,
    "log_energy": 100.0, "f0": 1e5, "voicing": 10.0, "speech_probability": 10.0,
}  # fmt: skip
"""Absolute values beyond any measurement. A 1e30 from a faulty sender would stay in a running mean for minutes."""


def sanitize(frame: SpeakerFrame) -> SpeakerFrame:
    """The frame itself where all values are possible; else a copy whose invalid face or sound is missing.

    Perception never produces NaN or 1e30, but a recording or a third-party node may, and a recursive filter does not
    recover from such a value.
    """
    face, sound = frame.face, frame.sound
    face_ok = all(_plausible(face, name) for name in _FACE_FIELDS)
    sound_ok = all(abs(getattr(sound, name)) <= _LIMITS[name] for name in _SOUND_NUMBERS) and all(
        _plausible(sound, name) for name in _SOUND_ARRAYS
    )
    if face_ok and sound_ok:
        return frame
    return SpeakerFrame(frame.index, frame.stamp_ns, face if face_ok else Face(), sound if sound_ok else Sound())


def _plausible(part: Face | Sound, name: str) -> bool:
    values, limit = getattr(part, name), _LIMITS[name]
    # Comparisons with NaN are false.
    return values is None or bool(values.max() <= limit and values.min() >= -limit)
