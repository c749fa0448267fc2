"""Blendshapes and landmarks to the 25 facial attributes: derived by rule, not by a trained detector."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from react_ros.face import (
    ACTION_UNIT_NAMES,
    ACTION_UNITS,
    ARKIT_INDEX,
    CIRCUMPLEX,
    EXPRESSION_NAMES,
    Floats,
    join_attributes,
)

Doubles = npt.NDArray[np.float64]

_SHARPNESS = 10.0
_NEUTRAL_SCORE = 0.4
"""Score at which a prototype is as likely as the neutral face."""
_FULL_ENERGY = 0.35
"""Root mean square of the action units of a face in full expression."""

_REST_QUANTILE = 0.2
_FULL_QUANTILE = 0.95

# For each action unit: (rest, highest rest, least full scale) of the raw activation.
# rest: initial baseline of an unknown person. highest rest: upper bound of the baseline, so that a person who smiles
# all the time is not taken for neutral. least full scale: lower bound of the range, so that the noise of a channel that
# hardly moves is not amplified. The values are from MediaPipe's output on real faces (brows and lids of people at rest
# reach 0.4).
_RANGES: Mapping[int, tuple[float, float, float]] = {
    1: (0.25, 0.6, 0.4),
    2: (0.20, 0.6, 0.4),
    4: (0.02, 0.3, 0.4),
    6: (0.05, 0.3, 0.6),
    7: (0.20, 0.5, 0.4),
    9: (0.00, 0.3, 0.7),
    10: (0.00, 0.2, 0.6),
    12: (0.00, 0.2, 0.7),
    14: (0.00, 0.2, 0.3),
    15: (0.00, 0.3, 0.6),
    17: (0.02, 0.3, 0.3),
    23: (0.02, 0.3, 0.3),
    24: (0.03, 0.3, 0.4),
    25: (0.02, 0.2, 0.5),
    26: (0.02, 0.2, 0.5),
}


class AffectEstimator:
    """Streaming estimator of one person's 25 attributes; causal, constant memory.

    All values are derived by rule. Action units: from ARKit blendshapes by the usual correspondence and, where
    MediaPipe's channels hardly respond (AU6, AU9, AU15), from the geometry of the landmarks. Expressions: EMFACS
    prototypes (Ekman & Friesen 1983) and a softmax with a bias for the neutral face. Valence and arousal: the
    probability-weighted mean position on the circumplex (Russell 1980), arousal scaled by the activity of the face.
    No network was trained for it, and it was not validated against a coded corpus. Each action unit is scaled from the
    person's own baseline to their own 95th percentile over about the last minute.
    """

    def __init__(self) -> None:
        self._shapes = _RunningQuantiles(
            lo=np.zeros(len(ACTION_UNITS)),
            hi=np.ones(len(ACTION_UNITS)),
            prior=np.array([_RANGES[n][0] for n in ACTION_UNITS]),
        )
        self._geometry = _RunningQuantiles(lo=_GEOMETRY_LO, hi=_GEOMETRY_HI, prior=_GEOMETRY_REST)
        self._highest_rest = np.array([_RANGES[n][1] for n in ACTION_UNITS])
        self._least_scale = np.array([_RANGES[n][2] for n in ACTION_UNITS])

    def reset(self) -> None:
        """Clear the person's baseline: the next frame shows an unknown person."""
        self._shapes.reset()
        self._geometry.reset()

    def step(self, blendshapes: Floats, landmarks: Floats | None = None, aspect: float = 1.0) -> Floats:
        """Attributes of the next frame in which the person is visible.

        blendshapes: (52,) in the order of `ARKIT`; values that are not finite count as 0. landmarks: (478, 3) as in
        `DetectedFace`, or None (AU6, AU9 and AU15 are then weaker). aspect: image height over width.
        Returns (25,) in the order of `ATTRIBUTE_NAMES`: AU 0 to 1, valence and arousal -1 to 1, probabilities.
        """
        shapes = np.clip(np.nan_to_num(np.asarray(blendshapes, np.float64), posinf=0.0, neginf=0.0), 0.0, 1.0)
        measures = None if landmarks is None else _measure(landmarks, aspect)
        if measures is None:
            deviation = np.zeros(3)
        else:
            self._geometry.add(measures)
            # Bounded, so that a smile held for a minute does not become the baseline.
            deviation = measures - np.clip(self._geometry.at(0.5), _GEOMETRY_REST - 0.03, _GEOMETRY_REST + 0.03)
        raw, contempt, widened, stretched = _raw_action_units(shapes, deviation)
        self._shapes.add(raw)
        rest = np.minimum(self._shapes.at(_REST_QUANTILE), self._highest_rest)
        scale = np.maximum(self._shapes.at(_FULL_QUANTILE) - rest, self._least_scale)
        units = np.clip((raw - rest) / scale, 0.0, 1.0)
        expressions = _expressions(units, contempt, widened, stretched)
        return join_attributes(units, _valence_arousal(units, expressions), expressions)


def _raw_action_units(s: Doubles, deviation: Doubles) -> tuple[Doubles, float, float, float]:
    """Raw activation, 0 to 1, of the 15 action units; then of one-sided smiles, AU5 and AU20.

    s: (52,) blendshapes. deviation: (3,) of `_measure` from the person's median.
    """

    def left_right(name: str) -> tuple[float, float]:
        return float(s[ARKIT_INDEX[f"{name}Left"]]), float(s[ARKIT_INDEX[f"{name}Right"]])

    def both(name: str) -> float:
        return sum(left_right(name)) / 2

    def one(name: str) -> float:
        return float(s[ARKIT_INDEX[name]])

    cheek, nose, corner = deviation
    smile, squint, jaw = both("mouthSmile"), both("eyeSquint"), one("jawOpen")
    # Lowered eyes foreshorten the upper face, and a smile lifts the nostrils: neither must count as AU6 or AU9.
    eyes_level = 1.0 - both("eyeLookDown")
    cheek_raised = _ramp(-cheek, 0.05) * eyes_level
    nose_wrinkled = _ramp(-nose, 0.05) * eyes_level * (1.0 - smile)
    corner_lowered = _ramp(corner - 0.02, 0.05) * (1.0 - smile) * (1.0 - jaw)
    parted = max(jaw - one("mouthClose"), both("mouthLowerDown"), both("mouthUpperUp"), 0.0)
    rolled = (one("mouthRollUpper") + one("mouthRollLower")) / 2
    press = both("mouthPress")
    raw = {
        1: one("browInnerUp"),
        2: both("browOuterUp"),
        4: both("browDown"),
        6: max(both("cheekSquint"), float(np.sqrt(squint * smile)), cheek_raised * max(smile, 0.5)),
        7: squint,
        9: max(both("noseSneer"), nose_wrinkled),
        10: both("mouthUpperUp"),
        12: smile,
        14: both("mouthDimple"),
        15: max(both("mouthFrown"), corner_lowered),
        17: one("mouthShrugLower"),
        23: max(rolled, float(np.sqrt(rolled * press))),
        24: press,
        25: parted,
        26: jaw,
    }
    sides = np.array(left_right("mouthSmile")) + np.array(left_right("mouthDimple"))
    contempt = float(np.clip(abs(sides[0] - sides[1]), 0.0, 1.0)) * (1.0 - float(min(sides[0], sides[1], 1.0)))
    return np.array([raw[n] for n in ACTION_UNITS]), contempt, both("eyeWide"), both("mouthStretch")


def _ramp(value: float, full: float) -> float:
    return float(np.clip(value / full, 0.0, 1.0))


def _expressions(units: Doubles, contempt: float, widened: float, stretched: float) -> Doubles:
    """(8,) probabilities in the order of `EXPRESSION_NAMES`.

    The score of a prototype is the geometric mean of its key sign and the mean of all its action units; without the
    key sign it scores 0 (a talking mouth alone is not surprise). A smile lowers the scores of unpleasant expressions.
    """
    au = dict(zip(ACTION_UNITS, units.tolist(), strict=True))
    pleasant = 1.0 - au[12]
    brows = max(au[1], au[2])

    def score(key: float, *parts: float) -> float:
        return float(np.sqrt(max(key, 0.0) * (sum(parts) / len(parts))))

    scores = {
        "neutral": _NEUTRAL_SCORE,
        "happy": score(au[12], au[6], au[12]),
        "sad": score(max(au[15], min(au[1], au[4])), au[1], au[4], au[15]) * pleasant * (1.0 - max(widened, stretched)),
        "surprise": score(min(brows, au[26]), au[1], au[2], max(widened, au[26]), au[26]) * pleasant,
        "fear": score(min(brows, max(stretched, widened)), au[1], au[2], au[4], widened, au[7], stretched, au[26])
        * pleasant,
        "disgust": score(au[9], au[9], max(au[15], au[10]), au[17]) * pleasant,
        "anger": score(min(au[4], max(au[7], au[23], au[24])), au[4], au[7], max(au[23], au[24])) * pleasant,
        "contempt": score(contempt, contempt, max(au[12], au[14])),
    }
    logits = _SHARPNESS * np.array([scores[name] for name in EXPRESSION_NAMES])
    odds = np.exp(logits - logits.max())
    return odds / odds.sum()


def _valence_arousal(units: Doubles, expressions: Doubles) -> Doubles:
    valence, arousal = expressions @ CIRCUMPLEX
    energy = min(float(np.sqrt(np.mean(units**2))) / _FULL_ENERGY, 1.0)
    return np.clip(np.array([valence, arousal * energy]), -1.0, 1.0)


# Distances cheek to lower lid, nostril to inner eye corner, mouth corners to mouth centre, in units of the length from
# the forehead to the base of the nose, which depends less on nodding than any width does. Rest: mean of three people.
_GEOMETRY_REST = np.array([0.29, 0.39, 0.0])
_GEOMETRY_LO = _GEOMETRY_REST - 0.16
_GEOMETRY_HI = _GEOMETRY_REST + 0.16


def _measure(landmarks: Floats, aspect: float) -> Doubles | None:
    """(3,) distances on the face, invariant to position, size and roll; None for landmarks that are not a face.

    Indices are those of MediaPipe's canonical face model.
    """
    points = np.asarray(landmarks, np.float64) * np.array([1.0, -aspect, -1.0])
    if not np.isfinite(points).all() or np.abs(points).max() > 1e6:
        return None
    across = points[263] - points[33]
    width = float(np.linalg.norm(across))
    if width < 1e-6:
        return None
    across = across / width
    up = points[10] - points[168]
    up = up - across * (up @ across)
    length = float(np.linalg.norm(up))
    if length < 1e-6:
        return None
    up = up / length

    def height(*indices: int) -> float:
        return float(np.mean(points[list(indices)] @ up))

    unit = height(10) - height(2)
    if unit < 0.2 * width:
        return None
    return np.array([
        height(145, 374) - height(50, 280),
        height(133, 362) - height(48, 278),
        height(13, 14) - height(61, 291),
    ]) / unit  # fmt: skip


class _RunningQuantiles:
    """Quantiles of n signals over about the last minute, from histograms with exponential decay: constant memory.

    Resolution (hi - lo) / 128. Starts as if 10 frames of `prior` had been observed: the first frames are scaled by
    typical values, and after a few seconds by the person's own.
    """

    _BINS = 128
    _MEMORY_FRAMES = 1500.0
    _PRIOR_FRAMES = 10.0

    def __init__(self, lo: Doubles, hi: Doubles, prior: Doubles) -> None:
        self._lo = lo
        self._step = (hi - lo) / self._BINS
        self._prior = prior
        self._rows = np.arange(len(lo))
        self.reset()

    def reset(self) -> None:
        self._counts = np.zeros((len(self._lo), self._BINS))
        self._counts[self._rows, self._bin(self._prior)] = self._PRIOR_FRAMES
        self._cumulated = np.cumsum(self._counts, axis=1)

    def add(self, values: Doubles) -> None:
        """values: (n,), finite."""
        self._counts *= 1.0 - 1.0 / self._MEMORY_FRAMES
        self._counts[self._rows, self._bin(values)] += 1.0
        self._cumulated = np.cumsum(self._counts, axis=1)

    def at(self, quantile: float) -> Doubles:
        """(n,) quantiles (0 to 1) of the signals."""
        target = quantile * self._cumulated[:, -1:]
        index = np.argmax(self._cumulated >= target, axis=1)
        inside = self._counts[self._rows, index]
        below = self._cumulated[self._rows, index] - inside
        fraction = (target[:, 0] - below) / np.maximum(inside, 1e-12)
        return self._lo + (index + np.clip(fraction, 0.0, 1.0)) * self._step

    def _bin(self, values: Doubles) -> npt.NDArray[np.intp]:
        # Clipped before the conversion: distant outliers would overflow an integer.
        return np.clip((values - self._lo) / self._step, 0, self._BINS - 1).astype(np.intp)


assert len(_RANGES) == len(ACTION_UNIT_NAMES)
