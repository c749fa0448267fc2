"""What the landmarks of a simulated speaker would measure: the stand-in for landmarks, which simulated people lack."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.simulation.motion import Doubles
from react_ros.corpus.simulation.world_a.feelings import Feeling
from react_ros.face import ACTION_UNITS
from react_ros.perception.affect import simulated_measures, simulated_rest

UNITS: Mapping[str, Mapping[int, float]] = {
    "joy": {6: 0.6}, "laughter": {6: 0.8, 9: 0.1}, "polite": {6: 0.2}, "sadness": {1: 0.8, 4: 0.5, 15: 0.7},
    "pout": {1: 0.3, 15: 0.6}, "crying": {1: 0.7, 4: 0.8, 6: 0.6, 15: 0.3},
    "sobbing": {1: 0.8, 4: 0.9, 6: 0.6, 15: 0.3}, "pain": {4: 1.0, 6: 0.8, 9: 0.5}, "worry": {1: 0.9, 4: 0.5, 15: 0.2},
    "anger": {4: 1.0, 9: 0.1}, "shouting": {4: 0.8, 9: 0.3}, "disgust": {9: 0.9, 4: 0.4, 15: 0.3},
    "surprise": {1: 0.9}, "contempt": {}, "knitted": {4: 0.6}, "brow": {1: 0.5},
}  # fmt: skip
"""Action units of each expression that show in the geometry of a face, 0 to 1 in the full expression."""


def units_of(movements: tuple[Feeling, ...]) -> Doubles:
    """(751, 15) strengths of the units in `UNITS`, in the order of `ACTION_UNITS`."""
    out = np.zeros((CLIP_FRAMES, len(ACTION_UNITS)))
    for movement in movements:
        envelope = movement.envelope()
        shares = dict(UNITS.get(movement.kind, {}))
        if movement.knitted:
            shares[4] = max(shares.get(4, 0.0), UNITS["knitted"][4] * movement.knitted)
        for unit, share in shares.items():
            column = ACTION_UNITS.index(unit)
            out[:, column] = np.maximum(out[:, column], np.clip(share * envelope, 0.0, 1.0))
    return out


def simulated_geometry(movements: tuple[Feeling, ...], shown: Doubles, rng: np.random.Generator) -> Doubles:
    """(751, 7) measures of a random person who makes these movements. shown: (751, 52), for gaze and lids."""
    noise = float(np.exp(0.4 * rng.standard_normal()))
    return simulated_measures(simulated_rest(rng), units_of(movements), shown, rng, noise)
