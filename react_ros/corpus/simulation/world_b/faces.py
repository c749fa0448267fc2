"""Faces of world B: a Gaussian copula with the measured marginals, correlations and memory of real faces.

World A adds expressions, background and noise to a person's rest; here every channel is a quantile of a latent Gaussian
process, and a smile is a path of the latent smile on which all other channels are conditioned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr, ndtri

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.simulation.motion import Doubles, smooth_noise
from react_ros.corpus.simulation.statistics import real_people
from react_ros.face import ARKIT, ARKIT_INDEX, FPS

_LEVELS = np.array([0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0])
_SMILE = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]
_OWN = 0.78
"""Share of the pooled variance that lies between people; the rest is within a person."""


@dataclass(frozen=True, slots=True)
class CopulaFace:
    """One person: where their face lies among people, and how quickly it moves."""

    level: Doubles
    """(58,) the person's mean latent score."""
    memory: float
    """Time constant of the slow part, frames."""
    quick: float
    """Share of the variance that is quick."""
    noise: float
    """Standard deviation of the tracker's noise."""


@cache
def _quantiles() -> Doubles:
    """(58, 9) of the pooled channels at `_LEVELS`."""
    inner = real_people().pooled
    reach = inner[:, -1:] + 0.3 * (inner[:, -1:] - inner[:, -2:-1])
    low = inner[:, :1] - 0.3 * (inner[:, 1:2] - inner[:, :1])
    low[:52], reach[:52] = np.maximum(low[:52], 0.0), np.minimum(reach[:52], 1.0)
    return np.concatenate([low, inner, reach], axis=1)


@cache
def _factor() -> Doubles:
    """(58, 58) factor of the correlations."""
    values, vectors = np.linalg.eigh(real_people().correlation)
    factor = vectors * np.sqrt(np.maximum(values, 1e-4))
    return factor / np.sqrt((factor**2).sum(axis=1, keepdims=True))


def draw_face(rng: np.random.Generator) -> CopulaFace:
    """A random person."""
    level = np.sqrt(_OWN) * (_factor() @ rng.standard_normal(58))
    level[_SMILE] *= 0.5
    return CopulaFace(
        level, float(rng.uniform(6.0, 14.0)), float(rng.uniform(0.1, 0.4)), float(rng.uniform(0.001, 0.01))
    )


def show(face: CopulaFace, smile: Doubles, further: Doubles, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """(751, 52) weights and (751, 6) pose of a person as tracked.

    smile: (751,) 0 to 1. further: (751, 52) deviations by speech, other feelings, gaze and blinks.
    """
    slow, quick = rng.standard_normal((2, CLIP_FRAMES + 200, 58))
    a, b = np.exp(-1.0 / face.memory), np.exp(-1.0 / 1.2)
    slow = np.asarray(lfilter([np.sqrt(1.0 - a * a)], [1.0, -a], slow, axis=0))[200:]
    slow = 0.5 * (slow + np.roll(slow, 1, axis=0))
    quick = np.asarray(lfilter([np.sqrt(1.0 - b * b)], [1.0, -b], quick, axis=0))[200:]
    moved = (np.sqrt(1.0 - face.quick) * slow + np.sqrt(face.quick) * quick) @ _factor().T
    # A head is heavier than a lip.
    moved[:, 52:] = 0.5 * smooth_noise(rng, 6, face.memory / FPS)
    z = face.level + np.sqrt(1.0 - _OWN) * moved
    # The smile's path in the latent space, and what it moves along.
    table = _quantiles()[_SMILE].mean(axis=0)
    wanted = ndtri(np.clip(np.interp(np.clip(smile, 0.0, 0.95), table, _LEVELS), 0.3, 0.995))
    shift = np.where(
        smile > 0.05, wanted - z[:, _SMILE].mean(axis=1), np.minimum(-0.4 - z[:, _SMILE].mean(axis=1), 0.0)
    )
    along = real_people().correlation[:, _SMILE].mean(axis=1)
    along[_SMILE] = 1.0
    z = z + shift[:, None] * along
    out = np.empty((CLIP_FRAMES, 58))
    for i, row in enumerate(_quantiles()):
        out[:, i] = np.interp(ndtr(z[:, i]), _LEVELS, row)
    weights = out[:, :52] + further
    weights += face.noise * rng.standard_normal(weights.shape) * (0.1 + np.clip(weights / 0.1, 0.0, 1.0))
    weights[:, [name.startswith(("cheek", "nose", "tongue")) for name in ARKIT]] = 0.0
    return np.clip(weights, 0.0, 1.0), out[:, 52:]
