"""FaceVerse coefficients: their published statistics, and ARKit blendshapes derived from action units."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from react_ros.face import ARKIT, FACE_MODEL, Floats
from react_ros.generators.attributes import UNITS

Normalisation = Literal["mean", "standard"]
"""Normalisation of the 58 in the baselines: REACT 2024 subtracts the mean, REACT 2025 also divides by the deviation."""

MEAN: Floats = np.array([
    0.5727, 0.5044, 0.1608, 0.0656, 0.041, 0.0101, 0.065, 0.0482, 0.2358, 0.1576, 0.1173, 0.033, 0.2002, 0.0584,
    0.376, 0.216, 0.1528, 0.063, 0.025, 0.0529, 0.1565, 0.0993, 0.0021, 0.004, 0.071, 0.0182, 0.0016, 0.0425,
    0.0101, 0.0594, 0.0166, 0.0232, 0.0718, 0.0316, 0.0812, 0.1831, 0.0785, 0.0002, 0.0599, 0.0015, 0.1243,
    0.0008, 0.0063, 0.2089, 0.2875, 0.0685, 0.0601, 0.0137, 0.0184, 0.0166, 0.0103, 0.0146, 3.1908, 0.0454,
    0.0016, -0.0056, -0.018, 1.8379,
], np.float32)  # fmt: skip
"""(58,) mean over NoXI and RECOLA, as the challenge publishes it (mean_face.npy, to four decimals)."""

STD: Floats = np.array([
    0.363, 0.2927, 0.1606, 0.1158, 0.096, 0.0362, 0.1301, 0.1102, 0.2823, 0.2445, 0.1809, 0.0918, 0.2372,
    0.1223, 0.3392, 0.2897, 0.1958, 0.1265, 0.0577, 0.0778, 0.2473, 0.1743, 0.0185, 0.0228, 0.0986, 0.0368,
    0.0235, 0.1077, 0.0428, 0.1366, 0.0677, 0.057, 0.0964, 0.0987, 0.1607, 0.1868, 0.1253, 0.0061, 0.0816,
    0.0173, 0.1161, 0.0106, 0.031, 0.225, 0.224, 0.0989, 0.0869, 0.0385, 0.0502, 0.0561, 0.0453, 0.0457, 0.176,
    0.3529, 0.1296, 0.0928, 0.0367, 0.464,
], np.float32)  # fmt: skip
"""(58,) standard deviation over NoXI and RECOLA, as the challenge publishes it (std_face.npy, to four decimals)."""

MEAN.setflags(write=False)
STD.setflags(write=False)

_RIDGE = 1e-3
_STEPS = 400


def normalise(coefficients: npt.NDArray[np.floating], mode: Normalisation = "mean") -> Floats:
    """(…, 58) normalised as for the baselines' networks. Raises ValueError for another last axis."""
    c = _checked(coefficients) - MEAN
    return c / STD if mode == "standard" else c


def denormalise(coefficients: npt.NDArray[np.floating], mode: Normalisation = "mean") -> Floats:
    """The inverse of `normalise`."""
    c = _checked(coefficients)
    return (c * STD if mode == "standard" else c) + MEAN


def blendshapes_of_units(units: npt.NDArray[np.floating]) -> Floats:
    """(T, 52) ARKit weights, 0 to 1, of a face that shows (T, 15) action units, 0 to 1.

    DERIVED, not measured: bounded least squares, with a small ridge penalty, on the table by which
    `generators.attributes` computes action units from blendshapes; both sides of the face are equal. Movements
    without an action unit (gaze, blinks, sideways jaw) stay 0. Where units share blendshapes the result is a compromise
    (AU24 presses the lips, which also raises AU23).
    """
    sides = np.array([[_base(a) == b for b in _PAIRS] for a in ARKIT], float)  # (52, pairs)
    table = sides.T @ UNITS  # (pairs, 15)
    hessian = table @ table.T + _RIDGE * np.eye(len(_PAIRS))
    step = 1.0 / np.linalg.eigvalsh(hessian)[-1]
    wanted = np.clip(np.asarray(units, np.float64), 0.0, 1.0) @ table.T
    # Nesterov's accelerated projected gradient, for all frames at once; deterministic.
    x = ahead = np.zeros((len(wanted), len(_PAIRS)))
    t = 1.0
    for _ in range(_STEPS):
        new = np.clip(ahead - step * (ahead @ hessian - wanted), 0.0, 1.0)
        following = 0.5 + np.sqrt(0.25 + t * t)
        ahead = new + (t - 1.0) / following * (new - x)
        x, t = new, following
    return (x @ sides.T).astype(np.float32)


def _base(name: str) -> str:
    return name.removesuffix("Left").removesuffix("Right")


_PAIRS = tuple(dict.fromkeys(_base(name) for name, row in zip(ARKIT, UNITS, strict=True) if row.any()))
"""The blendshapes that contribute to a unit, without Left and Right."""


def _checked(coefficients: npt.NDArray[np.floating]) -> Floats:
    c = np.asarray(coefficients, np.float32)
    if c.shape[-1:] != (FACE_MODEL,):
        raise ValueError(
            f"a face model frame has {FACE_MODEL} coefficients, not {c.shape[-1] if c.ndim else 'a scalar'}"
        )
    return c
