"""Scales of the 58 face-model coefficients inside networks and losses."""

from __future__ import annotations

import torch
from torch import Tensor

from react_ros.face import FACE_MODEL, ROTATION_58, TRANSLATION_58

ROTATION_UNIT, TRANSLATION_UNIT = 0.05, 0.004
"""rad and m: about the size of a listener's head motion."""


def face_units(rotation: float = ROTATION_UNIT, translation: float = TRANSLATION_UNIT) -> Tensor:
    """(58,) 1 for blendshapes, `rotation` (rad) and `translation` (m) for the pose."""
    units = torch.ones(FACE_MODEL)
    units[ROTATION_58], units[TRANSLATION_58] = rotation, translation
    return units
