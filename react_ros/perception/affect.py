"""Blendshapes and landmarks to the 25 facial attributes: derived by rule, not by a trained detector."""

from __future__ import annotations

import math
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

_AU1, _AU4, _AU12 = (ACTION_UNITS.index(unit) for unit in (1, 4, 12))

_SHARPNESS = 10.0
_NEUTRAL_SCORE = 0.4
"""Score at which a prototype is as likely as the neutral face."""
_FULL_ENERGY = 0.35
"""Root mean square of the action units of a face in full expression."""

_REST_QUANTILE = np.where(np.isin(ACTION_UNITS, (4,)), 0.35, 0.2)
"""browDown follows gaze and head pitch: a lower quantile would leave a low brow half a frown."""
_FULL_QUANTILE = 0.95

# For each action unit: (rest, highest rest, least full scale) of the raw activation.
# rest: initial baseline of an unknown person. highest rest: upper bound of the baseline, so that a person who smiles
# all the time is not taken for neutral. least full scale: lower bound of the range, so that the noise of a channel that
# hardly moves is not amplified. The values are from MediaPipe's output on real faces (brows and lids of people at rest
# reach 0.4, and browDown 0.8 on old faces and on low brows: its rest may therefore be nearly as high).
_RANGES: Mapping[int, tuple[float, float, float]] = {
    1: (0.25, 0.6, 0.4),
    2: (0.20, 0.6, 0.4),
    4: (0.10, 0.85, 0.85),
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
_PRIOR_FRAMES = np.select([np.isin(ACTION_UNITS, (1,)), np.isin(ACTION_UNITS, (4,))], [25.0, 50.0], 10.0)
"""Weight of the initial baselines: those of the brows are learned in 4 s, the others in 2 s (an expression that is
there at first must not at once become the baseline)."""


_Corners = tuple[float, float]
"""The measures "corner" and "upper corner" of a frame."""


class AffectEstimator:
    """Streaming estimator of one person's 25 attributes; causal, constant memory.

    All values are derived by rule. Action units: from ARKit blendshapes by the usual correspondence and, where
    MediaPipe's channels hardly respond or follow a person's build (AU1, AU4, AU6, AU9, AU15), from distances between
    landmarks (`geometry`) as well. Expressions: EMFACS prototypes (Ekman & Friesen 1983) and a softmax with a bias for
    the neutral face. Distress (brows raised and drawn together, with closed lids or a raised chin) and a mouth wide
    open without lifted corners are kept apart from joy, because MediaPipe's mouthSmile also responds to the stretched
    mouth of crying and shouting; of AU12 only the rest remains, and distress counts as sadness. Valence and arousal:
    the probability-weighted mean position on the circumplex (Russell 1980), arousal scaled by the activity of the face.

    No network was trained for it, and it was not validated against a coded corpus. The constants of the geometry are
    set by eye and by regression on 59 faces of about 50 people (see `MEASURE_REST`); distress rests on one woman's
    acted crying, held against the smiles of about 25 others. Each action unit is scaled from the person's own baseline
    to their own 95th percentile over about the last minute; an unknown person has the baseline of the population, so
    that an expression counts from the first frame on.
    """

    def __init__(self) -> None:
        self._shapes = _RunningQuantiles(
            lo=np.zeros(len(ACTION_UNITS)),
            hi=np.ones(len(ACTION_UNITS)),
            prior=np.array([_RANGES[n][0] for n in ACTION_UNITS]),
            prior_frames=_PRIOR_FRAMES,
        )
        self._geometry = _RunningQuantiles(
            lo=MEASURE_REST - 0.16,
            hi=MEASURE_REST + 0.16,
            prior=MEASURE_REST,
            prior_frames=np.full(len(MEASURES), _GEOMETRY_PRIOR_FRAMES),
            spread=MEASURE_SPREAD,
        )
        self._highest_rest = np.array([_RANGES[n][1] for n in ACTION_UNITS])
        self._least_scale = np.array([_RANGES[n][2] for n in ACTION_UNITS])
        self._clear()

    def _clear(self) -> None:
        self._closed: float | None = None
        self._distress = 0.0
        self._seen = 0

    def reset(self) -> None:
        """Clear the person's baseline: the next frame shows an unknown person."""
        self._shapes.reset()
        self._geometry.reset()
        self._clear()

    def step(
        self,
        blendshapes: Floats,
        landmarks: Floats | None = None,
        aspect: float = 1.0,
        measures: Floats | Doubles | None = None,
    ) -> Floats:
        """Attributes of the next frame in which the person is visible.

        blendshapes: (52,) in the order of `ARKIT`; values that are not finite count as 0. landmarks: (478, 3) as in
        `DetectedFace`, or None. aspect: image height over width. measures: (7,) as `geometry` returns them, instead of
        landmarks (simulated people have none, see `simulated_measures`); not finite: as if missing. With neither, AU1,
        AU4, AU6, AU9 and AU15 are weaker, and distress is seen in the blendshapes alone.
        Returns (25,) in the order of `ATTRIBUTE_NAMES`: AU 0 to 1, valence and arousal -1 to 1, probabilities.
        Raises ValueError where both landmarks and measures are given, or measures have another shape.
        """
        shapes = np.clip(np.nan_to_num(np.asarray(blendshapes, np.float64), posinf=0.0, neginf=0.0), 0.0, 1.0)
        measured = self._measured(landmarks, aspect, measures)
        look = _Look(shapes)
        unknown = _GEOMETRY_PRIOR_FRAMES / (_GEOMETRY_PRIOR_FRAMES + self._seen)
        self._seen += 1
        deviation, corners = np.zeros(len(MEASURES)), None
        if measured is not None:
            level = measured - _GAZE_EFFECT @ (np.array([look.both(name) for name in _GAZE]) - _USUAL_GAZE)
            deviation, corners = self._deviation(level, unknown), (float(level[_CORNER]), float(level[_UPPER_CORNER]))
        raw, contempt, widened, stretched = _raw_action_units(look, deviation)
        self._shapes.add(raw)
        rest = np.minimum(self._shapes.at(_REST_QUANTILE), self._highest_rest)
        scale = np.maximum(self._shapes.at(_FULL_QUANTILE) - rest, self._least_scale)
        units = np.clip((raw - rest) / scale, 0.0, 1.0)
        shut = _ramp(look.both("eyeBlink") - 0.35, 0.25)
        # A quarter of a second: longer than a blink, which also pulls the brows.
        self._closed = shut if self._closed is None else self._closed + 0.2 * (shut - self._closed)
        drawn = _ramp(-deviation[_GAP], 0.02) * max(1.0 - 1.5 * max(shut - self._closed, 0.0), 0.0)
        # The geometry of the brows has its own baseline. Until a person is known, a low brow may be their build.
        units[_AU1] = max(units[_AU1], _ramp(max(deviation[_HEIGHT], 1.5 * deviation[_SLOPE]), 0.04))
        units[_AU4] = max(units[_AU4] * (1.0 - 0.35 * unknown), drawn)
        distress = self._distressed(look, units, self._closed, corners)
        # What MediaPipe takes for a smile in crying and shouting is a stretched mouth.
        units[_AU12] *= (1.0 - distress) * (1.0 - _torn(look, units[_AU4], corners))
        expressions = _expressions(units, contempt, widened, stretched, distress)
        return join_attributes(units, _valence_arousal(units, expressions), expressions)

    def _measured(self, landmarks: Floats | None, aspect: float, measures: Floats | Doubles | None) -> Doubles | None:
        if measures is None:
            return None if landmarks is None else geometry(landmarks, aspect)
        if landmarks is not None:
            raise ValueError("both landmarks and measures are given: the measures are those of the landmarks")
        given = np.asarray(measures, np.float64)
        if given.shape != (len(MEASURES),):
            raise ValueError(f"measures have the shape {given.shape}: expected ({len(MEASURES)},), as of `geometry`")
        # Bounded: a distance beyond the size of a face would overflow further down.
        return np.clip(given, -1.0, 2.0) if np.isfinite(given).all() else None

    def _deviation(self, level: Doubles, unknown: float) -> Doubles:
        """(7,) deviations of measures from the person's baseline, less what talking, noise or their build may explain.

        unknown: 1 at the first frame, towards 0 as the person becomes known.
        """
        # What is read as distress hardly counts towards the baseline.
        self._geometry.add(level, max((1.0 - self._distress) ** 2, 0.05))
        deviation = level - np.clip(self._geometry.at(0.5), *_BOUNDS)
        # People with low brows have a narrow gap; in one person it hardly depends on the height.
        deviation[_GAP] -= (0.1 + 0.3 * unknown) * min(deviation[_HEIGHT], 0.04)
        margin = _MARGIN + unknown * _DOUBT
        return np.sign(deviation) * np.maximum(np.abs(deviation) - margin, 0.0)

    def _distressed(self, look: _Look, units: Doubles, closed: float, corners: _Corners | None) -> float:
        """Distress, 0 to 1: brows drawn and raised, with closed lids or a raised chin, and no laughing mouth.

        It fades within half a second, or within seconds while the eyes stay closed (hands hide a crying face).
        """
        raised, drawn = units[_AU1], units[_AU4]
        chin = _ramp(look.one("mouthShrugLower") - 0.1, 0.2)
        laughing = _ramp(look.both("mouthSmile") - 0.2, 0.5) * _ramp(look.parted - 0.1, 0.2)
        if corners is not None:
            laughing *= max(_ramp(-0.05 - corners[0], 0.03), _ramp(0.015 - corners[1], 0.03))
        brows = _ramp(math.sqrt(drawn * (0.1 + 0.9 * raised)) - 0.12, 0.6)
        now = brows * max(closed, chin * raised)
        last = self._distress * (0.993 if closed > 0.8 else 0.9)
        self._distress = max(now, last) * (1.0 - laughing)
        return self._distress


class _Look:
    """Blendshapes by name. s: (52,), 0 to 1."""

    def __init__(self, s: Doubles) -> None:
        self._s = s
        opened = self.one("jawOpen") - self.one("mouthClose")
        self.parted = max(opened, self.both("mouthLowerDown"), self.both("mouthUpperUp"), 0.0)

    def one(self, name: str) -> float:
        return float(self._s[ARKIT_INDEX[name]])

    def left_right(self, name: str) -> tuple[float, float]:
        return self.one(f"{name}Left"), self.one(f"{name}Right")

    def both(self, name: str) -> float:
        return sum(self.left_right(name)) / 2


def _torn(look: _Look, drawn: float, corners: _Corners | None) -> float:
    """How far the mouth is open without lifted corners, 0 to 1: shouting, wailing, bared teeth. drawn: AU4."""
    if corners is None:
        return 0.0
    return _ramp(corners[1] - 0.025 + 0.012 * drawn, 0.025) * _ramp(look.parted - 0.15, 0.15)


def _raw_action_units(look: _Look, deviation: Doubles) -> tuple[Doubles, float, float, float]:
    """Raw activation, 0 to 1, of the 15 action units; then of one-sided smiles, AU5 and AU20."""
    one, both, left_right = look.one, look.both, look.left_right
    smile, squint, jaw = both("mouthSmile"), both("eyeSquint"), one("jawOpen")
    # Lowered eyes foreshorten the upper face, and a smile lifts the nostrils: neither must count as AU6 or AU9.
    eyes_level = 1.0 - both("eyeLookDown")
    cheek_raised = _ramp(-deviation[_CHEEK], 0.05) * eyes_level
    nose_wrinkled = _ramp(-deviation[_NOSE], 0.05) * eyes_level * (1.0 - smile)
    # A talking mouth lowers its corners too.
    corner_lowered = (
        _ramp(deviation[_CORNER], 0.025) * (1.0 - smile) * (1.0 - _ramp(max(jaw, look.parted) - 0.08, 0.12))
    )
    rolled = (one("mouthRollUpper") + one("mouthRollLower")) / 2
    press = both("mouthPress")
    # AU4 saturates slowly: a frown is anything from 0.2 (high brows) to 0.9 (low brows).
    raw = {
        1: one("browInnerUp"),
        2: both("browOuterUp"),
        4: 1.0 - float(np.exp(-both("browDown") / 0.4)),
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
        25: look.parted,
        26: jaw,
    }
    sides = np.array(left_right("mouthSmile")) + np.array(left_right("mouthDimple"))
    contempt = float(np.clip(abs(sides[0] - sides[1]), 0.0, 1.0)) * (1.0 - float(min(sides[0], sides[1], 1.0)))
    return np.array([raw[n] for n in ACTION_UNITS]), contempt, both("eyeWide"), both("mouthStretch")


def _ramp(value: float, full: float) -> float:
    return min(max(float(value) / full, 0.0), 1.0)


def _expressions(units: Doubles, contempt: float, widened: float, stretched: float, distress: float) -> Doubles:
    """(8,) probabilities in the order of `EXPRESSION_NAMES`.

    The score of a prototype is the geometric mean of its key sign and the mean of all its action units; without the
    key sign it scores 0 (a talking mouth alone is not surprise). A smile lowers the scores of unpleasant expressions,
    distress that of joy.
    """
    au = dict(zip(ACTION_UNITS, units.tolist(), strict=True))
    pleasant = 1.0 - au[12]
    brows = max(au[1], au[2])

    def score(key: float, *parts: float) -> float:
        return float(np.sqrt(max(key, 0.0) * (sum(parts) / len(parts))))

    # Two of the signs are enough (EMFACS lists such variants). Lowered corners alone may be a person's build, and brows
    # that are raised as a whole are surprise or fear.
    lowered = au[15] * (0.5 + 0.5 * max(au[1], au[4], au[17]))
    oblique = min(au[1], au[4]) * (1.0 - 0.5 * au[2])
    sad = score(max(lowered, oblique), *sorted((au[1], au[4], au[15], min(au[15], au[17])))[2:])
    scores = {
        "neutral": _NEUTRAL_SCORE,
        "happy": score(au[12], au[6], au[12]) * (1.0 - distress),
        "sad": max(sad * pleasant * (1.0 - max(widened, stretched)), distress),
        "surprise": score(min(brows, au[26]), au[1], au[2], max(widened, au[26]), au[26]) * pleasant,
        "fear": score(min(brows, max(stretched, widened)), au[1], au[2], au[4], widened, au[7], stretched, au[26])
        * pleasant,
        "disgust": score(au[9], au[9], max(au[15], au[10]), au[17]) * pleasant,
        "anger": score(min(au[4], max(au[7], au[23], au[24])), au[4], au[7], max(au[23], au[24]))
        * pleasant
        * (1.0 - 0.8 * au[1]),
        "contempt": score(contempt, contempt, max(au[12], au[14])),
    }
    logits = _SHARPNESS * np.array([scores[name] for name in EXPRESSION_NAMES])
    odds = np.exp(logits - logits.max())
    return odds / odds.sum()


def _valence_arousal(units: Doubles, expressions: Doubles) -> Doubles:
    valence, arousal = expressions @ CIRCUMPLEX
    energy = min(float(np.sqrt(np.mean(units**2))) / _FULL_ENERGY, 1.0)
    return np.clip(np.array([valence, arousal * energy]), -1.0, 1.0)


MEASURES = ("cheek", "nose", "corner", "brow height", "brow slope", "brow gap", "upper corner")
"""The distances that `geometry` measures."""
MEASURE_REST: Doubles = np.array([0.299, 0.388, -0.020, 0.131, -0.060, 0.296, -0.002])
"""(7,) mean of `MEASURES` at rest, in their unit, over 59 faces (27 films and 32 photographs of about 50 people; mouth
and cheeks: the 47 of them whose mouth is at rest). Read-only."""
MEASURE_SPREAD: Doubles = np.array([0.017, 0.019, 0.015, 0.028, 0.0125, 0.0195, 0.016])
"""(7,) standard deviation of `MEASURE_REST` over those faces. Read-only."""
for _constant in (MEASURE_REST, MEASURE_SPREAD):
    _constant.setflags(write=False)

# Effect on the measures of 1 rad of the pitch of the landmarks, and of eyeLookDown and eyeBlink from 0 to 1: regression
# within 27 films (9,250 frames) on pitch, gaze, lids, brows, smile and jaw together; what is not significant is 0.
_PITCH_EFFECT = np.array([-0.050, -0.121, 0.036, 0.074, 0.014, 0.0, -0.043])
_GAZE_EFFECT = np.array([
    [-0.060, 0.072], [-0.046, 0.055], [0.0, 0.0], [0.043, -0.049], [0.009, 0.0], [0.0, 0.0], [0.011, -0.018],
])  # fmt: skip
_USUAL_PITCH = -0.12
_GAZE = ("eyeLookDown", "eyeBlink")
_USUAL_GAZE = np.array([0.25, 0.1])

_CHEEK, _NOSE, _CORNER, _HEIGHT, _SLOPE, _GAP, _UPPER_CORNER = range(7)
_BOUNDS = (
    MEASURE_REST - np.array([0.03, 0.03, 0.005, 0.05, 0.026, 0.04, 0.03]),
    MEASURE_REST + np.array([0.03, 0.03, 0.03, 0.05, 0.026, 0.04, 0.03]),
)
"""Bounds of the baseline around the rest, so that a smile held for a minute does not become the baseline."""
_MARGIN = np.array([0.0, 0.006, 0.008, 0.012, 0.004, 0.006, 0.0])
"""Deviation that does not count: what talking, gaze and noise move."""
_DOUBT = np.array([0.0, 0.006, 0.012, 0.014, 0.010, 0.006, 0.0])
"""Further deviation that does not count while the person is unknown: half the spread over people, or more."""
_GEOMETRY_PRIOR_FRAMES = 100.0


def geometry(landmarks: Floats | Doubles, aspect: float = 1.0) -> Doubles | None:
    """(7,) `MEASURES` of a face, independent of its position, size, roll and, to first order, pitch.

    landmarks: (478, 3) as in `DetectedFace` (indices of MediaPipe's canonical face model). aspect: image height over
    width. Returns None for landmarks that are not a face. In units of the length from the forehead to the base of the
    nose, which depends less on nodding than any width does: cheek to lower lid; nostril to inner eye corner; mouth
    corners below the mouth's centre; inner ends of the brows above the inner eye corners; the same above the middle of
    the brows (higher: oblique brows); mouth corners below the upper lip's edge. In units of the distance between the
    outer eye corners: inner end to inner end of the brows ("brow gap").
    """
    points = np.asarray(landmarks, np.float64) * np.array([1.0, -aspect, -1.0])
    if not np.isfinite(points).all() or np.abs(points).max() > 1e6:
        return None
    across = points[263] - points[33]
    width = math.hypot(*across)
    if width < 1e-6:
        return None
    across = across / width
    up = points[10] - points[168]
    up = up - across * (up @ across)
    length = math.hypot(*up)
    if length < 1e-6:
        return None
    up = up / length
    height = (points @ up).tolist()
    unit = height[10] - height[2]
    if unit < 0.2 * width:
        return None

    def pair(left: int, right: int) -> float:
        return (height[left] + height[right]) / 2

    corners, brows, canthi = pair(61, 291), pair(55, 285), pair(133, 362)
    distances = (
        pair(145, 374) - pair(50, 280),
        canthi - pair(48, 278),
        pair(13, 14) - corners,
        brows - canthi,
        brows - pair(52, 282),
        math.dist(points[285], points[55]) * unit / width,
        height[13] - corners,
    )
    measured = np.array(distances) / unit
    # Elevation of across x up, which points out of the face, once the eyes are level in the image.
    rightwards, level = across[1] * up[2] - across[2] * up[1], math.hypot(across[0], across[1])
    upwards = across[2] * up[0] - across[0] * up[2]
    outward = (upwards * across[0] - rightwards * across[1]) / max(level, 1e-6)
    pitch = -math.asin(min(max(outward, -1.0), 1.0))
    return measured - _PITCH_EFFECT * (min(max(pitch, -0.8), 0.8) - _USUAL_PITCH)


# Stand-in for the landmarks of simulated people.

MEASURE_EFFECTS: Mapping[int, tuple[float, ...]] = {
    1: (0.0, 0.0, 0.0, 0.045, 0.028, 0.0, 0.0),
    2: (0.0, 0.0, 0.0, 0.014, -0.038, 0.017, 0.0),
    4: (0.0, 0.0, 0.0, -0.030, 0.012, -0.025, 0.0),
    6: (-0.035, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    9: (0.0, -0.045, 0.0, 0.0, 0.0, 0.0, 0.0),
    12: (-0.023, -0.022, -0.067, 0.0, 0.0, 0.0, -0.029),
    15: (0.0, 0.0, 0.030, 0.0, 0.0, 0.0, 0.020),
    17: (0.0, 0.0, 0.020, 0.0, 0.0, 0.0, 0.005),
    26: (0.012, 0.0, -0.025, 0.0, 0.0, 0.0, 0.063),
}
"""By how much an action unit at full strength moves each of `MEASURES`.

AU1, 2, 4, 12, 26: the regression within 27 films that gaze and pitch are from, times the range of the blendshape on
real faces (0.8, 0.8, 0.6, 1, 0.5); AU4's gap also from crying, AU15 and AU17 from pouting, judged by eye (5 people);
AU6 and AU9 by hand, from the scale on which `AffectEstimator` reads them."""
MEASURE_WANDER: Doubles = np.array([0.0055, 0.006, 0.0095, 0.0055, 0.0035, 0.0055, 0.0125])
"""(7,) standard deviation within a person of what blendshapes and gaze do not explain (the same films); its
autocorrelation falls to 1/e in half a second. Read-only."""
MEASURE_NOISE: Doubles = np.array([0.0018, 0.0021, 0.0020, 0.0019, 0.0013, 0.0017, 0.0020])
"""(7,) standard deviation of the noise from frame to frame (median of the films; half to two and a half times as much
by the size and sharpness of the face). Read-only."""
_WANDER_FRAMES = 12.0
_REST_CORRELATION = np.array([
    [1.00, 0.71, 0.22, -0.46, 0.28, -0.27, -0.10],
    [0.71, 1.00, 0.16, -0.28, 0.12, -0.04, -0.25],
    [0.22, 0.16, 1.00, -0.22, 0.11, -0.15, 0.34],
    [-0.46, -0.28, -0.22, 1.00, -0.41, 0.59, -0.05],
    [0.28, 0.12, 0.11, -0.41, 1.00, -0.46, -0.25],
    [-0.27, -0.04, -0.15, 0.59, -0.46, 1.00, -0.07],
    [-0.10, -0.25, 0.34, -0.05, -0.25, -0.07, 1.00],
])  # fmt: skip
"""Of the measures at rest over people (the 47 faces)."""
for _constant in (MEASURE_WANDER, MEASURE_NOISE):
    _constant.setflags(write=False)


def simulated_rest(rng: np.random.Generator) -> Doubles:
    """(7,) `MEASURES` at rest of a simulated person, drawn from the real faces' mean, spread and correlation."""
    covariance = _REST_CORRELATION * np.outer(MEASURE_SPREAD, MEASURE_SPREAD)
    drawn = rng.multivariate_normal(MEASURE_REST, covariance, method="cholesky")
    return np.clip(drawn, MEASURE_REST - 2.5 * MEASURE_SPREAD, MEASURE_REST + 2.5 * MEASURE_SPREAD)


def simulated_measures(
    rest: Doubles, units: Floats | Doubles, blendshapes: Floats | Doubles, rng: np.random.Generator, noise: float = 1.0
) -> Doubles:
    """(T, 7) `MEASURES` of a simulated person, as if `geometry` had measured them: a stand-in, no real face.

    rest: (7,) of `simulated_rest`. units: (T, 15) true strengths, 0 to 1, in the order of `ACTION_UNITS`. blendshapes:
    (T, 52), for gaze and lids. noise: multiple of `MEASURE_NOISE`; the slow wander is always as in `MEASURE_WANDER`.
    """
    effects = np.zeros((len(ACTION_UNITS), len(MEASURES)))
    for unit, effect in MEASURE_EFFECTS.items():
        effects[ACTION_UNITS.index(unit)] = effect
    shapes = np.asarray(blendshapes, np.float64)
    looks = [shapes[:, [ARKIT_INDEX[f"{name}{side}"] for side in ("Left", "Right")]].mean(axis=1) for name in _GAZE]
    wander, keep = np.empty((len(shapes), len(MEASURES))), float(np.exp(-1.0 / _WANDER_FRAMES))
    fresh = rng.standard_normal(wander.shape)
    last = rng.standard_normal(len(MEASURES))
    for t, draw in enumerate(fresh):
        last = keep * last + float(np.sqrt(1.0 - keep**2)) * draw
        wander[t] = last
    jitter = rng.standard_normal(wander.shape) * MEASURE_NOISE * noise
    gaze = (np.stack(looks, axis=1) - _USUAL_GAZE) @ _GAZE_EFFECT.T
    return rest + np.asarray(units, np.float64) @ effects + gaze + wander * MEASURE_WANDER + jitter


class _RunningQuantiles:
    """Quantiles of n signals over about the last minute, from histograms with exponential decay: constant memory.

    Resolution (hi - lo) / 128. Starts as if `prior_frames` (n,) frames around `prior` with standard deviation `spread`
    had been observed: the first frames are scaled by typical values, and after a few seconds by the person's own.
    """

    _BINS = 128
    _MEMORY_FRAMES = 1500.0

    def __init__(
        self, lo: Doubles, hi: Doubles, prior: Doubles, prior_frames: Doubles, spread: Doubles | None = None
    ) -> None:
        self._lo = lo
        self._step = (hi - lo) / self._BINS
        self._rows = np.arange(len(lo))
        self._start = np.zeros((len(lo), self._BINS))
        if spread is None:
            self._start[self._rows, self._bin(prior)] = 1.0
        else:
            centres = lo[:, None] + (np.arange(self._BINS) + 0.5) * self._step[:, None]
            self._start += np.exp(-0.5 * ((centres - prior[:, None]) / spread[:, None]) ** 2)
        self._start *= (prior_frames / self._start.sum(axis=1))[:, None]
        self.reset()

    def reset(self) -> None:
        self._counts = self._start.copy()
        self._cumulated = np.cumsum(self._counts, axis=1)

    def add(self, values: Doubles, weight: float = 1.0) -> None:
        """values: (n,), finite. weight: frames that they count for."""
        self._counts *= 1.0 - 1.0 / self._MEMORY_FRAMES
        self._counts[self._rows, self._bin(values)] += weight
        self._cumulated = np.cumsum(self._counts, axis=1)

    def at(self, quantile: float | Doubles) -> Doubles:
        """(n,) quantiles of the signals. quantile: 0 to 1, one for all or (n,)."""
        target = quantile * self._cumulated[:, -1]
        index = np.argmax(self._cumulated >= target[:, None], axis=1)
        inside = self._counts[self._rows, index]
        below = self._cumulated[self._rows, index] - inside
        fraction = (target - below) / np.maximum(inside, 1e-12)
        return self._lo + (index + np.clip(fraction, 0.0, 1.0)) * self._step

    def _bin(self, values: Doubles) -> npt.NDArray[np.intp]:
        # Clipped before the conversion: distant outliers would overflow an integer.
        return np.clip((values - self._lo) / self._step, 0, self._BINS - 1).astype(np.intp)


assert len(_RANGES) == len(ACTION_UNIT_NAMES)
