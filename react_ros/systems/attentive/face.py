"""The attentive listener's face: drives (smile, brows, concern, micro-movements) as blendshapes, with rise and fall."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from react_ros.face import ARKIT, ARKIT_INDEX
from react_ros.generators.idle import Doubles

DRIVES: Mapping[str, Mapping[str, float]] = {
    "smile": {"mouthSmile": 1.0, "cheekSquint": 0.6, "eyeSquint": 0.35, "mouthDimple": 0.15, "mouthUpperUp": 0.15},
    "brow_up": {"browInnerUp": 0.7, "browOuterUp": 0.6, "eyeWide": 0.2},
    "brow_down": {"browDown": 0.7, "eyeSquint": 0.2},
    "alert": {"eyeWide": 0.14, "browInnerUp": 0.08, "browOuterUp": 0.1},
    "concern": {"browInnerUp": 0.6, "mouthPress": 0.22, "mouthFrown": 0.12, "mouthShrugLower": 0.1, "eyeSquint": 0.08},
    "lips_together": {"mouthPress": 0.09, "mouthRollLower": 0.05, "mouthRollUpper": 0.04},
    "chin": {"mouthShrugLower": 0.09, "mouthShrugUpper": 0.04},
    "pout": {"mouthPucker": 0.06, "mouthFunnel": 0.02},
    "lips_apart": {"jawOpen": 0.03, "mouthLowerDown": 0.02},
    "inner_brow": {"browInnerUp": 0.04},
    "lids": {"eyeSquint": 0.07},
    "grin": {"mouthUpperUp": 0.42, "mouthLowerDown": 0.22, "jawOpen": 0.12, "cheekSquint": 0.2, "mouthStretch": 0.08},
}
"""Blendshape weights of each drive; a name without Left or Right moves both sides."""

SMILE_DRIVE, UP_DRIVE, DOWN_DRIVE, ALERT_DRIVE, CONCERN_DRIVE = range(5)
MICRO = slice(5, 11)
"""Drives that are moved by noise only."""
GRIN_DRIVE = 11
"""What an open smile shows beside a closed one."""


def _basis() -> Doubles:
    basis = np.zeros((len(DRIVES), len(ARKIT)))
    for row, shapes in enumerate(DRIVES.values()):
        for name, weight in shapes.items():
            for side in [name] if name in ARKIT_INDEX else [f"{name}Left", f"{name}Right"]:
                basis[row, ARKIT_INDEX[side]] = weight
    return basis


BASIS = _basis()  # (12, 52)

# Expressions rise faster than they fall; alertness and concern change over a second. Weights a frame of each of two
# poles. A smile falls as fast as it must to end with the speaker's.
RISE = np.array([0.45, 0.3, 0.3, 0.08, 0.15] + [0.25] * 6 + [0.3])
FALL = np.array([0.35, 0.2, 0.16, 0.05, 0.06] + [0.25] * 6 + [0.25])
