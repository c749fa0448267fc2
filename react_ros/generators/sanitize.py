"""What a generator checks at its border: parameters a person gave, and frames that carry NaN."""

from __future__ import annotations

from react_ros.face import Face, Sound, SpeakerFrame

_LIMITS = {
    "blendshapes": 10.0, "rotation": 7.0, "translation": 100.0, "attributes": 10.0,
    "mfcc": 1e4, "mfcc_delta": 1e4, "embedding": 1e4,
    "log_energy": 100.0, "f0": 1e5, "voicing": 10.0, "speech_probability": 10.0,
}  # fmt: skip
"""No measurement lies beyond; a sender's 1e30 would stay in a running mean for minutes."""


def sanitize(frame: SpeakerFrame) -> SpeakerFrame:
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
