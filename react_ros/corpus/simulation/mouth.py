"""Lips and jaw of speech, from its phonemes in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.simulation.motion import SECONDS, TIMES, Doubles
from react_ros.face import ARKIT, ARKIT_INDEX

_STEPS = 100
"""Per second."""
_LEAD = 0.03
"""By how much lips and jaw move before the sound, s (anticipatory co-articulation)."""

_OPEN, _ROUND, _SPREAD, _CLOSE, _BITE, _PROTRUDE = range(6)
"""Opening of the jaw, rounding, spreading, closure of the lips, lower lip to the teeth, protrusion; 0 to 1."""
_TARGETS: dict[str, tuple[float, float, float, float, float, float]] = {
    "a": (0.9, 0.0, 0.1, 0, 0, 0), "ɑ": (1.0, 0.0, 0.0, 0, 0, 0), "æ": (0.9, 0.0, 0.4, 0, 0, 0),
    "ʌ": (0.65, 0.0, 0.1, 0, 0, 0), "ɐ": (0.65, 0.0, 0.1, 0, 0, 0), "ɒ": (0.8, 0.4, 0.0, 0, 0, 0),
    "ɔ": (0.65, 0.55, 0.0, 0, 0, 0.2), "o": (0.55, 0.7, 0.0, 0, 0, 0.3), "O": (0.5, 0.75, 0.0, 0, 0, 0.3),
    "Q": (0.5, 0.7, 0.0, 0, 0, 0.3), "u": (0.25, 1.0, 0.0, 0, 0, 0.6), "ʊ": (0.35, 0.6, 0.0, 0, 0, 0.3),
    "W": (0.85, 0.3, 0.0, 0, 0, 0), "Y": (0.55, 0.5, 0.1, 0, 0, 0.1), "I": (0.8, 0.0, 0.35, 0, 0, 0),
    "A": (0.5, 0.0, 0.7, 0, 0, 0), "e": (0.5, 0.0, 0.6, 0, 0, 0), "ɛ": (0.55, 0.0, 0.45, 0, 0, 0),
    "i": (0.2, 0.0, 1.0, 0, 0, 0), "ɪ": (0.3, 0.0, 0.6, 0, 0, 0), "ə": (0.35, 0.0, 0.1, 0, 0, 0),
    "ɚ": (0.35, 0.3, 0.0, 0, 0, 0.2), "ɜ": (0.4, 0.3, 0.0, 0, 0, 0.2), "ᵊ": (0.3, 0.0, 0.1, 0, 0, 0),
    "ᵻ": (0.3, 0.0, 0.4, 0, 0, 0), "m": (0.05, 0, 0, 1.0, 0, 0), "b": (0.05, 0, 0, 1.0, 0, 0),
    "p": (0.05, 0, 0, 1.0, 0, 0), "f": (0.12, 0, 0.2, 0.2, 1.0, 0), "v": (0.12, 0, 0.2, 0.2, 1.0, 0),
    "w": (0.15, 1.0, 0, 0.2, 0, 0.5), "ʃ": (0.12, 0.4, 0, 0, 0, 1.0), "ʒ": (0.12, 0.4, 0, 0, 0, 1.0),
    "ʧ": (0.1, 0.4, 0, 0, 0, 1.0), "ʤ": (0.1, 0.4, 0, 0, 0, 1.0), "ɹ": (0.2, 0.45, 0, 0, 0, 0.5),
    "s": (0.08, 0, 0.45, 0, 0, 0), "z": (0.08, 0, 0.45, 0, 0, 0), "t": (0.12, 0, 0.25, 0, 0, 0),
    "d": (0.12, 0, 0.25, 0, 0, 0), "n": (0.15, 0, 0.2, 0, 0, 0), "l": (0.3, 0, 0.2, 0, 0, 0),
    "θ": (0.15, 0, 0.2, 0, 0.2, 0), "ð": (0.15, 0, 0.2, 0, 0.2, 0), "k": (0.25, 0, 0.1, 0, 0, 0),
    "ɡ": (0.25, 0, 0.1, 0, 0, 0), "ŋ": (0.25, 0, 0.1, 0, 0, 0), "h": (0.4, 0, 0.1, 0, 0, 0),
    "j": (0.2, 0, 0.8, 0, 0, 0), "ɾ": (0.2, 0, 0.2, 0, 0, 0), "T": (0.2, 0, 0.2, 0, 0, 0),
    "laugh": (0.7, 0.0, 0.4, 0, 0, 0),
}  # fmt: skip
_OTHER = (0.25, 0.0, 0.1, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Sound:
    """A phoneme of hibari's alphabet, or "laugh" for a burst of laughter; its audible time in the clip, s."""

    kind: str
    start: float
    end: float


def lips(sounds: Sequence[Sound], *, jaw: float = 1.0, lips: float = 1.0, effort: Doubles | None = None) -> Doubles:
    """(751, 52) blendshapes of lips and jaw for phonemes in time; magnitudes as trackers report them for real talkers.

    jaw, lips: the person's factors on opening and on lip shapes (`Speaker.jaw`, `Speaker.lips`). effort: (751,) factor
    of the mood, about 1: loud speech opens wider.
    """
    n = int(SECONDS * _STEPS) + 2
    tracks = np.zeros((6, n))
    for s in sounds:
        a, b = int((s.start - _LEAD) * _STEPS), int(np.ceil((s.end - _LEAD) * _STEPS))
        a, b = max(a, 0), min(max(b, a + 1), n)
        if b > a:
            tracks[:, a:b] = np.array(_TARGETS.get(s.kind, _OTHER))[:, None]
    smooth = np.asarray(gaussian_filter1d(tracks, 4.2, axis=1))
    at = np.minimum((TIMES * _STEPS).astype(np.int64), n - 1)
    fast = np.asarray(gaussian_filter1d(tracks[_CLOSE : _BITE + 1], 3.0, axis=1))[:, at]
    open_, round_, spread, _, _, protrude = (x[at] for x in smooth)
    close, bite = np.clip(1.5 * fast, 0.0, 1.0)
    loud = np.ones(CLIP_FRAMES) if effort is None else np.sqrt(np.clip(effort, 0.3, 3.0))
    opening = np.clip(jaw * loud * open_ * (1.0 - 0.85 * close) * (1.0 - 0.4 * bite), 0.0, 2.0)
    round_, spread, protrude = lips * round_, lips * spread, lips * protrude
    out = np.zeros((CLIP_FRAMES, len(ARKIT)))
    for name, value in (
        ("jawOpen", 0.62 * opening**1.3),
        ("mouthClose", 0.04 * close * (0.5 + opening)),
        ("mouthPress", 0.2 * close * np.sqrt(lips)),
        ("mouthRollLower", 0.12 * close + 0.2 * bite),
        ("mouthRollUpper", 0.14 * close + 0.03 * bite),
        ("mouthFunnel", 0.2 * protrude + 0.25 * round_ * opening),
        ("mouthPucker", 1.6 * np.clip(round_, 0.0, 1.2) ** 1.7),
        ("mouthStretch", 0.25 * spread**1.5),
        ("mouthLowerDown", 0.65 * opening * (1.0 - 0.6 * np.clip(round_, 0.0, 1.0)) + 0.12 * spread),
        ("mouthUpperUp", 0.4 * opening**1.3 + 0.15 * spread**1.5 + 0.08 * bite),
        ("mouthShrugUpper", 0.04 * opening + 0.05 * close),
        ("mouthShrugLower", 0.05 * close + 0.03 * round_),
    ):
        for shape in (name,) if name in ARKIT_INDEX else (f"{name}Left", f"{name}Right"):
            out[:, ARKIT_INDEX[shape]] = np.clip(value, 0.0, 1.0)
    return out
