"""The 25 attributes that a generated face shows, derived from its blendshapes.

Derived by convention, never measured: action units by the FACS meaning of ARKit's names, expressions by EMFACS
prototypes (Friesen and Ekman 1983), valence and arousal by the circumplex (Russell 1980). Nothing is calibrated to a
person, since a generated face has none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from react_ros.face import (
    ACTION_UNITS,
    ARKIT,
    ARKIT_INDEX,
    ATTRIBUTES,
    AU,
    CIRCUMPLEX,
    EXPRESSION_NAMES,
    EXPRESSIONS,
    VA,
    Floats,
)

_SHAPES_OF_UNIT: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.0},
    2: {"browOuterUp": 1.0},
    4: {"browDown": 1.0},
    6: {"cheekSquint": 1.0},
    7: {"eyeSquint": 1.0},
    9: {"noseSneer": 1.0},
    10: {"mouthUpperUp": 1.0},
    12: {"mouthSmile": 1.0},
    14: {"mouthDimple": 1.0},
    15: {"mouthFrown": 1.0},
    17: {"mouthShrugLower": 1.0},
    23: {"mouthRollLower": 0.25, "mouthRollUpper": 0.25, "mouthPress": 0.5},
    24: {"mouthPress": 1.0},
    25: {"jawOpen": 1.0, "mouthClose": -1.0, "mouthLowerDown": 0.5, "mouthUpperUp": 0.5},
    26: {"jawOpen": 1.0},
}
"""Weights of each unit; a name without Left or Right is the mean of both sides."""

_PROTOTYPES: dict[str, dict[int, float]] = {
    "happy": {12: 1.4, 6: 0.6},
    "sad": {1: 0.8, 4: 0.8, 15: 1.6},
    "surprise": {1: 0.8, 2: 0.8, 26: 1.0},
    "fear": {1: 0.5, 2: 0.5, 4: 0.6, 7: 0.3, 26: 0.4},
    "disgust": {9: 1.6, 15: 0.8, 17: 0.3},
    "anger": {4: 1.4, 7: 0.5, 23: 0.8},
    "contempt": {14: 1.0},
}
_SHARPNESS = 6.0
_NEUTRAL_SCORE = 0.8


def _unit_matrix() -> npt.NDArray[np.float64]:
    matrix = np.zeros((len(ARKIT), len(ACTION_UNITS)))
    for column, unit in enumerate(ACTION_UNITS):
        for name, weight in _SHAPES_OF_UNIT[unit].items():
            sides = [name] if name in ARKIT_INDEX else [f"{name}Left", f"{name}Right"]
            for side in sides:
                matrix[ARKIT_INDEX[side], column] += weight / len(sides)
    return matrix


def _score_matrix() -> npt.NDArray[np.float64]:
    matrix = np.zeros((len(ACTION_UNITS), len(EXPRESSION_NAMES)))
    for name, units in _PROTOTYPES.items():
        for unit, weight in units.items():
            matrix[ACTION_UNITS.index(unit), EXPRESSION_NAMES.index(name)] = weight
    return matrix


UNITS = _unit_matrix()
"""(52, 15) weight of each blendshape in each action unit. Read-only."""
UNITS.setflags(write=False)
_SCORES = _score_matrix()  # (15, 8)


def attributes_of(blendshapes: npt.NDArray[np.floating]) -> Floats:
    """(S, 25) attributes, in the order of `ATTRIBUTE_NAMES`, of (S, 52) blendshapes from 0 to 1.

    Units 0 to 1, valence and arousal -1 to 1, expression probabilities sum to 1.
    """
    units = np.clip(blendshapes @ UNITS, 0.0, 1.0)
    scores = units @ _SCORES
    scores[:, 0] = _NEUTRAL_SCORE
    likelihood = np.exp(_SHARPNESS * (scores - scores.max(axis=1, keepdims=True)))
    probability = likelihood / likelihood.sum(axis=1, keepdims=True)
    affect = probability @ CIRCUMPLEX
    affect[:, 1] += 0.15 * units.mean(axis=1)
    out = np.empty((len(units), ATTRIBUTES), np.float32)
    out[:, AU] = units
    out[:, VA] = np.clip(affect, -1.0, 1.0)
    out[:, EXPRESSIONS] = probability
    return out
