"""The footage of real people that the demo and the tests use, and the voice that the demo gives to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from react_ros import assets

FACE, VOICES = "demo-face", [f"demo-voice-{n}" for n in range(1, 6)]
DISTRESS = ((0.2, 5.6),)
"""s from the first image of `FACE`, by eye: she cries, then covers her face; afterwards she beams."""
FILMS: Mapping[str, str] = {
    FACE: "woman", "footage-single-face-video": "man", "footage-face-leaves": "man", "footage-face-comes": "man",
}  # fmt: skip
"""Films with one person, assets by name, with who is in them: clips of one person are not independent."""


def write_voice(path: Path, seconds: float) -> Path:
    """Write the demo's voice: recorded sentences with pauses between them, cut to the given duration. Returns path."""
    import soundfile

    parts = []
    rate = 16_000
    for name in VOICES:
        pcm, rate = soundfile.read(assets.resolve(name), dtype="int16")
        parts += [pcm, np.zeros(round(0.6 * rate), np.int16)]
    soundfile.write(path, np.concatenate(parts)[: round(seconds * rate)], rate)
    return path
