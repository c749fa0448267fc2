"""What the landmarks of a simulated speaker would measure: the stand-in for landmarks, which simulated people lack."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.simulation.motion import Doubles, smooth_noise
from react_ros.corpus.simulation.world_a.feelings import Feeling

UNITS: Mapping[str, Mapping[int, float]] = {
    "joy": {6: 0.6}, "laughter": {6: 0.8, 9: 0.1}, "polite": {6: 0.2}, "sadness": {1: 0.8, 4: 0.5, 15: 0.7},
    "pout": {1: 0.3, 15: 0.6}, "crying": {1: 0.7, 4: 0.8, 6: 0.6, 15: 0.3}, "sobbing": {1: 0.8, 4: 0.9, 6: 0.6, 15: 0.3},
    "pain": {4: 1.0, 6: 0.8, 9: 0.5}, "worry": {1: 0.9, 4: 0.5, 15: 0.2}, "anger": {4: 1.0, 9: 0.1},
    "shouting": {4: 0.8, 9: 0.3}, "disgust": {9: 0.9, 4: 0.4, 15: 0.3}, "surprise": {1: 0.9}, "contempt": {},
    "knitted": {4: 0.6}, "brow": {1: 0.5},
}  # fmt: skip
"""Action units of each expression that show in the geometry of a face."""


def activations(movements: tuple[Feeling, ...]) -> dict[int, Doubles]:
    """(751,) strength of AU1, AU4, AU6, AU9 and AU15."""
    out = {unit: np.zeros(CLIP_FRAMES) for unit in (1, 4, 6, 9, 15)}
    for movement in movements:
        envelope = movement.envelope()
        for unit, share in UNITS.get(movement.kind, {}).items():
            out[unit] = np.maximum(out[unit], share * envelope)
        if movement.knitted:
            out[4] = np.maximum(out[4], UNITS["knitted"][4] * movement.knitted * envelope)
    return out


def simulated_geometry(movements: tuple[Feeling, ...], rng: np.random.Generator) -> list[None]:
    return [None] * CLIP_FRAMES


_ = smooth_noise
