"""Expressions as a face tracker reports them, and how a person's face differs from the mean one.

A tracker like MediaPipe does not report the muscles: cheekSquint and noseSneer stay at 0, a frown of the lips hardly
shows, a grimace of pain or a crying mouth shows as mouthSmile with closed eyes. Magnitudes follow what our perception
reported of real people (`statistics`); which shapes belong to an expression follows FACS and the footage of the demo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from react_ros.corpus.simulation.expressions import weights_of
from react_ros.corpus.simulation.motion import Doubles, smooth_noise
from react_ros.corpus.simulation.statistics import paired_scores, positive_quantile, real_people, signed_quantile
from react_ros.face import ARKIT, ARKIT_INDEX

TRACKED: Mapping[str, Mapping[str, float]] = {
    "sadness": {
        "browInnerUp": 0.35, "browDown": 0.06, "mouthFrown": 0.06, "mouthShrugLower": 0.2, "mouthPress": 0.08,
        "eyeLookDown": 0.35, "eyeBlink": 0.12, "mouthRollLower": 0.05, "mouthPucker": 0.08,
    },
    "pout": {"mouthShrugLower": 0.35, "mouthPucker": 0.35, "browInnerUp": 0.2, "browDown": 0.05, "mouthFrown": 0.05},
    "crying": {
        "mouthSmile": 0.78, "eyeBlink": 0.68, "eyeLookDown": 0.72, "eyeSquint": 0.3, "browInnerUp": 0.1,
        "browDown": 0.04, "mouthStretch": 0.08, "mouthPress": 0.05,
    },
    "sobbing": {
        "mouthSmile": 0.3, "eyeBlink": 0.55, "eyeLookDown": 0.6, "eyeSquint": 0.3, "browInnerUp": 0.3, "jawOpen": 0.25,
        "mouthLowerDown": 0.3, "mouthUpperUp": 0.25, "mouthStretch": 0.15, "browDown": 0.08,
    },
    "pain": {
        "mouthSmile": 0.35, "eyeSquint": 0.4, "eyeBlink": 0.45, "browDown": 0.3, "mouthUpperUp": 0.4,
        "mouthStretch": 0.2, "jawOpen": 0.1, "mouthLowerDown": 0.25,
    },
    "anger": {
        "browDown": 0.42, "eyeSquint": 0.25, "mouthPress": 0.18, "mouthRollLower": 0.1, "mouthRollUpper": 0.06,
        "browInnerUp": -0.2, "browOuterUp": -0.25,
    },
    "shouting": {
        "jawOpen": 0.6, "mouthUpperUp": 0.35, "mouthLowerDown": 0.45, "browDown": 0.3, "eyeSquint": 0.25,
        "mouthStretch": 0.12, "mouthSmile": 0.12, "browOuterUp": -0.15,
    },
    "worry": {
        "browInnerUp": 0.5, "browOuterUp": 0.2, "browDown": 0.08, "mouthStretch": 0.15, "mouthPress": 0.08,
        "jawOpen": 0.06, "mouthLowerDown": 0.08, "eyeSquint": 0.08,
    },
    "surprise": {
        "browInnerUp": 0.55, "browOuterUp": 0.6, "eyeWide": 0.35, "jawOpen": 0.3, "mouthFunnel": 0.05,
        "mouthLowerDown": 0.08, "eyeSquint": -0.25, "eyeBlink": -0.1,
    },
    "disgust": {
        "mouthUpperUp": 0.4, "browDown": 0.3, "eyeSquint": 0.35, "mouthShrugUpper": 0.05, "mouthPress": 0.08,
        "browOuterUp": -0.2,
    },
    "contempt": {"mouthSmileLeft": 0.35, "mouthDimpleLeft": 0.15, "mouthLeft": 0.2, "mouthPressLeft": 0.12,
                 "browOuterUpRight": 0.15, "eyeSquint": 0.08},
    "brow": {"browInnerUp": 0.35, "browOuterUp": 0.4, "eyeWide": 0.05},
    "knitted": {"browDown": 0.22, "eyeSquint": 0.1},
    "purse": {"mouthPucker": 0.75, "mouthFunnel": 0.08},
    "rolled_lips": {"mouthRollLower": 0.5, "mouthRollUpper": 0.2, "mouthPress": 0.2},
    "pulled_aside": {"mouthRight": 0.4, "mouthDimpleRight": 0.25, "mouthPressRight": 0.15},
    "grimace": {"mouthStretch": 0.35, "mouthLowerDown": 0.3, "mouthUpperUp": 0.2, "browInnerUp": 0.2, "jawLeft": 0.06},
    "covered": {
        "mouthPucker": 0.25, "mouthShrugLower": 0.15, "jawOpen": 0.15, "mouthPress": 0.15, "mouthRollUpper": 0.2,
    },
    "lowered_eyes": {"eyeLookDown": 0.6, "eyeBlink": 0.3, "browInnerUp": -0.05},
    "raised_eyes": {"eyeLookUp": 0.35, "browOuterUp": 0.15, "browInnerUp": 0.1},
}  # fmt: skip
"""Deviations from rest of a full expression, as tracked; names without Left or Right move both sides."""

BENIGN = (
    "purse",
    "rolled_lips",
    "pulled_aside",
    "grimace",
    "covered",
    "lowered_eyes",
    "raised_eyes",
    "brow",
    "knitted",
)
"""Movements that mean nothing by themselves: listeners do not answer them."""

_DRIVEN = ("mouthSmileLeft", "mouthSmileRight", "jawOpen", "eyeBlinkLeft", "eyeBlinkRight")
"""Channels that expressions, speech and blinks move; the background moves the others as it moves given these."""
_MOUTH = np.array([name.startswith(("mouth", "jaw")) for name in ARKIT])
_DEAD = np.array([name.startswith(("cheek", "nose", "tongue")) for name in ARKIT])


@cache
def tracked(name: str) -> Doubles:
    """(52,) deviation of the full expression. Read-only."""
    weights = weights_of(TRACKED[name])
    weights.setflags(write=False)
    return weights


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """One person's face as a tracker sees it."""

    rest: Doubles
    """(52,)."""
    gain: Doubles
    """(52,) of every deviation from rest."""
    spread: Doubles
    """(58,) standard deviation of the background motion; rad and m for the pose."""
    smile: Doubles
    """(52,) deviation of this person's full closed smile."""
    grin: Doubles
    """(52,) further deviation of an open smile."""
    noise: float
    """Standard deviation of the tracker's noise."""
    pose: Doubles
    """(3,) rad, rest."""
    place: Doubles
    """(3,) m, from the camera."""


def draw_face(rng: np.random.Generator) -> TrackedFace:
    """A random person before a camera of random height and distance."""
    people = real_people()
    liveliness = rng.standard_normal()
    rest = positive_quantile(paired_scores(rng, 0.85), people.rest[:52])
    # Inner and outer brows of a person are raised together.
    brow = rng.standard_normal()
    for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"):
        i = ARKIT_INDEX[name]
        z = np.array([0.85 * brow + 0.53 * rng.standard_normal()])
        rest[i] = positive_quantile(z, people.rest[i : i + 1])[0]
    scores = 0.8 * liveliness + 0.6 * np.concatenate([paired_scores(rng, 0.8), rng.standard_normal(6)])
    spread = positive_quantile(scores, people.spread)
    spread[:52] *= np.where(_MOUTH, 0.5, 0.85)
    for side in ("Left", "Right"):  # dimples are no part of the expressions here, and show in the background alone
        spread[ARKIT_INDEX[f"mouthDimple{side}"]] *= 3.0
    spread[52:] *= 0.75
    pose, place = np.split(signed_quantile(rng.standard_normal(6), people.rest[52:]), 2)
    place[2] -= rng.uniform(0.0, 0.4) * (rng.random() < 0.4)
    smile, grin = _draw_smile(rng)
    return TrackedFace(
        rest=np.where(_DEAD, 0.0, rest),
        gain=np.exp(0.2 * paired_scores(rng, 0.8)),
        spread=spread,
        smile=smile,
        grin=grin,
        noise=float(np.exp(rng.uniform(np.log(0.001), np.log(0.012)))),
        pose=0.6 * pose,
        place=place,
    )


def _draw_smile(rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """A person's way to smile, closed and open: measured means, varied."""
    mean = real_people().smiling
    closed, opened = np.zeros(52), np.zeros(52)
    lean = rng.normal(0.0, 0.05)
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        closed[ARKIT_INDEX[f"mouthSmile{side}"]] = 0.9 + sign * lean
        closed[ARKIT_INDEX[f"eyeSquint{side}"]] = rng.uniform(0.0, 0.28)
        closed[ARKIT_INDEX[f"eyeBlink{side}"]] = rng.uniform(0.0, 0.25)
    both = {
        "mouthPress": rng.uniform(0.0, 0.15), "mouthStretch": rng.uniform(0.0, 0.15),
        "mouthDimple": rng.uniform(0.0, 0.06), "mouthRollUpper": rng.uniform(-0.02, 0.03),
        "mouthUpperUp": rng.uniform(0.0, 0.3), "browDown": rng.uniform(0.0, 0.2) * (rng.random() < 0.35),
        "eyeLookDown": rng.uniform(-0.05, 0.15), "browOuterUp": rng.uniform(-0.3, 0.25),
        "eyeWide": -0.08,
    }  # fmt: skip
    for name, value in both.items():
        for side in ("Left", "Right"):
            index = ARKIT_INDEX.get(f"{name}{side}", ARKIT_INDEX.get(name))
            assert index is not None
            closed[index] = value + 0.15 * mean[index] * rng.normal()
    closed[ARKIT_INDEX["browInnerUp"]] = rng.uniform(-0.35, 0.3)
    wide = rng.uniform(0.3, 1.1)
    for side in ("Left", "Right"):
        opened[ARKIT_INDEX[f"mouthUpperUp{side}"]] = wide * rng.uniform(0.45, 0.7)
        opened[ARKIT_INDEX[f"mouthLowerDown{side}"]] = wide * rng.uniform(0.1, 0.45)
        opened[ARKIT_INDEX[f"mouthPress{side}"]] = -0.05
    opened[ARKIT_INDEX["jawOpen"]] = wide * rng.uniform(0.0, 0.3)
    return closed, opened


@cache
def _background_factor() -> tuple[Doubles, Doubles]:
    """(58, 58) factor of the correlations given `_DRIVEN`, and (58,) the share of the spread that is left."""
    c = real_people().correlation
    driven = np.array([ARKIT_INDEX[name] for name in _DRIVEN])
    others = np.setdiff1d(np.arange(58), driven)
    given = c[np.ix_(others, others)] - c[np.ix_(others, driven)] @ np.linalg.solve(
        c[np.ix_(driven, driven)] + 0.02 * np.eye(len(driven)), c[np.ix_(driven, others)]
    )
    values, vectors = np.linalg.eigh((given + given.T) / 2.0)
    factor = np.zeros((58, 58))
    factor[np.ix_(others, np.arange(len(others)))] = vectors * np.sqrt(np.maximum(values, 0.0))
    scale = np.sqrt((factor**2).sum(axis=1))
    # The driven channels' own small background is independent of the others.
    for row, column in zip(driven, range(len(others), 58), strict=True):
        factor[row, column] = 1.0
    return factor / np.maximum(np.sqrt((factor**2).sum(axis=1)), 1e-6)[:, None], np.where(
        np.isin(np.arange(58), driven), 0.3, scale
    )


def background(face: TrackedFace, rng: np.random.Generator) -> Doubles:
    """(751, 58) spontaneous motion: correlated as measured, with the measured memory; most of it upwards from rest."""
    factor, share = _background_factor()
    slow, fast = smooth_noise(rng, 58, 0.26), smooth_noise(rng, 58, 0.05)
    pose_slow = smooth_noise(rng, 58, 0.42)
    mixed = np.sqrt(0.6) * slow + np.sqrt(0.4) * fast
    mixed[:, 52:] = np.sqrt(0.94) * pose_slow[:, 52:] + np.sqrt(0.06) * fast[:, 52:]
    z = mixed @ factor.T
    z[:, 52:] = 0.6 * z[:, 52:] + 0.8 * mixed[:, 52:]
    skewed = np.sign(z) * np.abs(z) ** 1.6 / 1.35
    skewed = np.where(skewed < 0.0, 0.35 * skewed, 1.25 * skewed)
    free = face.rest > 1.5 * face.spread[:52]
    z[:, :52] = np.where(free, z[:, :52], skewed[:, :52])
    return z * face.spread * share


def as_tracked(deviation: Doubles, face: TrackedFace, rng: np.random.Generator) -> Doubles:
    """(751, 52) weights as the tracker reports them, 0 to 1, of (751, 52) deviations from rest."""
    out = face.rest + face.gain * deviation
    # Weights saturate: two movements of one shape do not add beyond 1.
    high = 0.75
    out = np.where(out > high, high + (1.0 - high) * np.tanh((out - high) / (1.0 - high)), out)
    noise = face.noise * rng.standard_normal(out.shape)
    jumps = np.exp(rng.standard_normal((len(out), 1)))  # single images are worse than others
    out = np.maximum(out, 0.0) + noise * jumps * (0.05 + np.clip(out / 0.15, 0.0, 1.0))
    out[:, _DEAD] = 10.0 ** (-5.5 + 0.5 * rng.standard_normal((len(out), int(_DEAD.sum()))))
    out[:, ARKIT_INDEX["tongueOut"]] = 0.0
    return np.clip(out, 0.0, 1.0)
