"""Facial expressions of emotions as blendshapes, and a simulated annotation of faces with the 25 attributes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from react_ros.corpus.simulation.motion import Doubles, smooth_noise
from react_ros.face import ACTION_UNITS, ARKIT, ARKIT_INDEX, AU, CIRCUMPLEX, EXPRESSIONS, VA, Floats, join_attributes
from react_ros.generators.attributes import attributes_of

FACES: Mapping[str, Mapping[str, float]] = {
    "joy": {"mouthSmile": 0.8, "cheekSquint": 0.6, "eyeSquint": 0.35, "mouthDimple": 0.12, "mouthUpperUp": 0.12},
    "laughter": {
        "mouthSmile": 0.95, "cheekSquint": 0.85, "eyeSquint": 0.55, "jawOpen": 0.35, "mouthUpperUp": 0.3,
        "mouthLowerDown": 0.25, "noseSneer": 0.1,
    },
    "sadness": {
        "browInnerUp": 0.65, "browDown": 0.4, "mouthFrown": 0.6, "mouthShrugLower": 0.4, "mouthPress": 0.1,
        "eyeSquint": 0.1,
    },
    "surprise": {
        "browInnerUp": 0.7, "browOuterUp": 0.75, "eyeWide": 0.5, "jawOpen": 0.35, "mouthFunnel": 0.1,
        "mouthLowerDown": 0.15,
    },
    "worry": {
        "browInnerUp": 0.75, "browOuterUp": 0.4, "browDown": 0.6, "eyeSquint": 0.3, "eyeWide": 0.1,
        "mouthStretch": 0.4, "jawOpen": 0.22, "mouthLowerDown": 0.2,
    },
    "disgust": {
        "noseSneer": 0.7, "mouthUpperUp": 0.5, "browDown": 0.4, "mouthFrown": 0.35, "eyeSquint": 0.4,
        "mouthShrugLower": 0.25,
    },
    "indignation": {
        "browDown": 0.75, "eyeSquint": 0.45, "mouthPress": 0.5, "mouthRollLower": 0.35, "mouthRollUpper": 0.3,
    },
    "irony": {
        "mouthDimpleLeft": 1.0, "mouthDimpleRight": 0.75, "mouthSmileLeft": 0.3, "mouthSmileRight": 0.1,
        "browOuterUpLeft": 0.2, "eyeSquint": 0.1,
    },
    "concern": {
        "browInnerUp": 0.7, "browDown": 0.3, "mouthPress": 0.45, "mouthRollLower": 0.3, "mouthShrugLower": 0.25,
    },
    "attention": {
        "browDown": 0.38, "browInnerUp": 0.3, "eyeSquint": 0.4, "mouthShrugLower": 0.35, "mouthShrugUpper": 0.15,
    },
    "dismay": {
        "browInnerUp": 0.6, "browOuterUp": 0.6, "eyeWide": 0.4, "jawOpen": 0.28, "mouthStretch": 0.3,
        "mouthLowerDown": 0.15, "noseSneer": 0.22,
    },
    "sympathy": {
        "browInnerUp": 0.6, "browOuterUp": 0.35, "mouthFrown": 0.4, "mouthShrugLower": 0.4, "mouthPress": 0.2,
    },
    "amusement": {"mouthSmile": 0.65, "cheekSquint": 0.45, "eyeSquint": 0.25, "mouthDimple": 0.1, "browOuterUp": 0.25},
    "brow": {"browInnerUp": 0.55, "browOuterUp": 0.6, "eyeWide": 0.15},
    "assent": {"mouthPress": 0.42, "mouthShrugLower": 0.42, "mouthRollLower": 0.1, "mouthShrugUpper": 0.15},
    "smile": {"mouthSmile": 0.6, "cheekSquint": 0.3, "eyeSquint": 0.12, "mouthDimple": 0.1},
}  # fmt: skip
"""Full expressions, set by hand after FACS (Ekman and Friesen 1978); names without Left or Right move both sides."""

SPOKEN = ("joy", "laughter", "sadness", "surprise", "worry", "disgust", "indignation", "irony")
"""The emotions of speakers in stories."""


def weights_of(shapes: Mapping[str, float]) -> Doubles:
    """(52,) weights by name; a name without Left or Right sets both sides."""
    weights = np.zeros(len(ARKIT))
    for shape, weight in shapes.items():
        for side in [shape] if shape in ARKIT_INDEX else [f"{shape}Left", f"{shape}Right"]:
            weights[ARKIT_INDEX[side]] = weight
    return weights


def face_of(name: str) -> Doubles:
    """(52,) weights of a full expression in `FACES`."""
    return weights_of(FACES[name])


def _occurrence_levels() -> Doubles:
    # FACS level B ("slight"); small movements of nose, lips and chin are coded earlier than brows and smiles.
    small = {9, 10, 14, 15, 17, 23, 24}
    return np.array([0.15 if unit in small else 0.2 for unit in ACTION_UNITS])


OCCURS: Doubles = _occurrence_levels()
"""(15,) intensity, 0 to 1, from which an action unit is annotated as occurring. Read-only."""
OCCURS.setflags(write=False)
CEASES = 0.75
"""An occurring action unit ends below this share of `OCCURS`: hysteresis, as annotators do not flicker."""


def occurrence(intensity: Doubles) -> Doubles:
    """(T, 15) occurrences, 0 or 1, from (T, 15) intensities, with hysteresis (`OCCURS`, `CEASES`)."""
    decided = (intensity >= OCCURS) | (intensity < CEASES * OCCURS)
    decided[0] = True
    # Undecided frames keep the state of the last decided frame.
    last = np.maximum.accumulate(np.where(decided, np.arange(len(intensity))[:, None], 0), axis=0)
    return np.take_along_axis((intensity >= OCCURS).astype(np.float64), last, axis=0)


def annotate(feeling: Doubles, articulation: Doubles, rng: np.random.Generator) -> Floats:
    """(751, 25) attributes as annotated by someone who knows the person's face at rest.

    feeling: (751, 52) the emotional expression; articulation: (751, 52) the contribution of speech. Action units are 0
    or 1, from both. Expressions, valence and arousal are `attributes_of` the feeling with a quarter of the articulation
    (so that talking does not count as surprise), plus a small slow noise and frame-to-frame noise.
    """
    units = attributes_of(np.clip(feeling + articulation, 0.0, 1.0))[:, AU]
    felt = attributes_of(np.clip(feeling + 0.25 * articulation, 0.0, 1.0))
    # The slow uncertainty of an annotator, and the flicker of a network that sees single frames.
    doubt, flicker = smooth_noise(rng, 10, 1.5), rng.standard_normal((len(felt), 10))
    # Multiplicative, so that very small probabilities stay small.
    probability = felt[:, EXPRESSIONS] * np.exp(0.1 * doubt[:, 2:] + 0.05 * flicker[:, 2:])
    probability /= probability.sum(axis=1, keepdims=True)
    affect = felt[:, VA] + (probability - felt[:, EXPRESSIONS]) @ CIRCUMPLEX
    affect += 0.015 * doubt[:, :2] + 0.01 * flicker[:, :2]
    return join_attributes(occurrence(units.astype(np.float64)), np.clip(affect, -1.0, 1.0), probability)
