"""Facial features as curves in the face's frontal plane: 52 blendshapes to lids, brows, lips, teeth, tongue, creases.

Coordinates of the frontal plane are in dm, x to the face's own left, y up. Directions follow Apple's descriptions of
the ARKit blendshapes; amounts are set by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from react_ros.avatar.head import Array, smoothstep
from react_ros.face import ARKIT_INDEX, Floats

EYE = np.array([0.325, 0.110], np.float32)
EYEBALL_RADIUS = 0.22
IRIS_RADIUS = 0.094
GAZE_RANGE = np.array([0.62, 0.48], np.float32)
"""Rotation of the eyeball in rad at weight 1: horizontal, vertical."""
MOUTH_Y = -0.60
SIDES = (("Left", 1.0), ("Right", -1.0))
_Point = tuple[float, float]
_T = np.linspace(-1.0, 1.0, 25, dtype=np.float32)


@dataclass(slots=True)
class Eye:
    """One eye. Curves (n, 2) run from the inner to the outer corner."""

    side: float
    upper: Floats
    lower: Floats
    crease: Floats
    fold: Floats
    """The crease below the lower lid."""
    fold_depth: float
    yaw: float
    """rad to the face's own left."""
    pitch: float
    """rad upwards."""


@dataclass(slots=True)
class Mouth:
    """Curves (n, 2) run from the face's own right corner to its left."""

    outer_upper: Floats
    inner_upper: Floats
    inner_lower: Floats
    outer_lower: Floats
    forward: Floats
    """(n,) dm by which the lips protrude."""
    lower_forward: Floats
    upper_teeth: Floats
    lower_teeth: Floats
    tongue: Floats
    tongue_out: Floats
    tongue_out_amount: float


@dataclass(slots=True)
class Creases:
    """m creases in the skin."""

    curves: Floats
    """(m, 13, 2)."""
    widths: Floats
    """(m,) half widths in dm."""
    depths: Floats
    """(m,) 0 to 1."""


@dataclass(slots=True)
class Features:
    """Everything that is drawn on the skin."""

    eyes: list[Eye]
    brows: list[tuple[Floats, Floats]]
    """(n, 2) centre line from the inner end outwards, and (n,) half widths in dm."""
    mouth: Mouth
    nostrils: list[Floats]
    creases: Creases


def _xy(x: Array, y: Array) -> Floats:
    out = np.empty((len(x), 2), np.float32)
    out[:, 0], out[:, 1] = x, y
    return out


class _Weights:
    """Blendshape weights by name: one, or a left/right pair interpolated along t from right (-1) to left (1)."""

    def __init__(self, weights: Floats):
        self._w = weights

    def __call__(self, name: str) -> float:
        return float(self._w[ARKIT_INDEX[name]])

    def along(self, name: str, t: Array) -> Array:
        right, left = self(name + "Right"), self(name + "Left")
        return right + (left - right) * smoothstep(-0.55, 0.55, t)


def _eye(w: _Weights, name: str, side: float) -> Eye:
    blink, squint, wide = w("eyeBlink" + name), w("eyeSquint" + name), w("eyeWide" + name)
    look_up, look_down = w("eyeLookUp" + name), w("eyeLookDown" + name)
    cheek, smile = w("cheekSquint" + name), w("mouthSmile" + name)
    yaw = side * float(GAZE_RANGE[0]) * (w("eyeLookOut" + name) - w("eyeLookIn" + name))
    pitch = float(GAZE_RANGE[1]) * (look_up - look_down)

    t = _T
    x = t * 0.198
    dome = (1.0 - np.abs(t) ** 2.3) ** 0.75
    height = 0.110 * (1.0 + 0.42 * wide + 0.20 * look_up - 0.42 * look_down - 0.30 * squint - 0.10 * cheek)
    depth = 0.078 * (1.0 + 0.22 * wide + 0.30 * look_down - 0.12 * look_up)
    depth *= 1.0 - 0.55 * squint - 0.35 * cheek - 0.15 * smile * (1.0 - 0.5 * squint)
    slant = 0.010 * t
    upper = height * dome * (1.0 - 0.10 * t) + slant
    lower = -depth * dome * (1.0 + 0.16 * t) + slant
    shut = -0.036 * dome + 0.02 * (squint + 0.5 * cheek) * dome + slant
    upper = upper + (shut - upper) * blink
    lower = lower + (shut - lower) * blink
    upper = np.maximum(upper, lower)
    brow = 0.02 * w("browInnerUp") + 0.02 * w("browOuterUp" + name) - 0.035 * w("browDown" + name)
    crease = 0.142 * dome**0.8 + slant + 0.02 * wide + brow - 0.03 * blink * dome - 0.015 * look_down
    crease = np.maximum(crease, upper + 0.012)
    fold = lower - 0.052 * dome - 0.014 + 0.010 * cheek

    def place(y: Array, stretch: float = 1.0) -> Floats:
        return _xy(side * (EYE[0] + x * stretch), EYE[1] + y)

    fold_depth = min(1.0, 0.10 + 0.40 * squint + 0.38 * cheek + 0.12 * smile)
    return Eye(side, place(upper), place(lower), place(crease, 1.04), place(fold, 0.86), fold_depth, yaw, pitch)


def _brow(w: _Weights, name: str, side: float) -> tuple[Floats, Floats]:
    inner, outer, down = w("browInnerUp"), w("browOuterUp" + name), w("browDown" + name)
    t = np.linspace(0.0, 1.0, 21, dtype=np.float32)
    near, far = (1.0 - t) ** 1.4, t**1.2
    x = 0.125 + 0.42 * t - 0.045 * down * near - 0.012 * inner * near
    y = 0.345 + 0.075 * np.sin(np.pi * t**0.85) * (1.0 - 0.5 * down) - 0.020 * t
    y = y + 0.125 * inner * near + 0.125 * outer * smoothstep(-0.1, 0.62, t) * (1.0 - 0.30 * smoothstep(0.55, 1.05, t))
    y = (
        y
        - 0.115 * down * near
        - 0.045 * down * far
        + 0.012 * w("eyeWide" + name)
        - 0.012 * w("noseSneer" + name) * near
    )
    half = 0.030 * (1.0 - 0.78 * t**1.6) * smoothstep(-0.16, 0.16, t)
    return _xy(side * x, y), half.astype(np.float32)


def _mouth(w: _Weights) -> Mouth:
    t = _T
    smile, frown = w.along("mouthSmile", t), w.along("mouthFrown", t)
    stretch, dimple = w.along("mouthStretch", t), w.along("mouthDimple", t)
    press, upper_up = w.along("mouthPress", t), w.along("mouthUpperUp", t)
    lower_down, sneer = w.along("mouthLowerDown", t), w.along("noseSneer", t)
    jaw, close, pucker, funnel = w("jawOpen"), w("mouthClose"), w("mouthPucker"), w("mouthFunnel")
    roll_upper, roll_lower = w("mouthRollUpper"), w("mouthRollLower")
    shrug_upper, shrug_lower, tongue = w("mouthShrugUpper"), w("mouthShrugLower"), w("tongueOut")
    slide = 0.095 * (w("mouthLeft") - w("mouthRight"))
    jaw_slide = w("jawLeft") - w("jawRight")
    drop_jaw = 0.40 * max(0.0, jaw - 0.96 * close)

    flat = np.abs(t)
    dome, box = (1.0 - flat**2) ** 0.75, (1.0 - flat**2.8) ** 0.72
    half = 0.262 + 0.075 * smile + 0.080 * stretch + 0.040 * dimple - 0.012 * frown - 0.02 * press
    half = half - 0.115 * pucker - 0.080 * funnel - 0.045 * jaw - 0.015 * close - 0.02 * shrug_lower
    half = np.maximum(half, 0.085)
    x = t * half + slide + 0.035 * jaw_slide
    corner = (
        0.135 * smile - 0.105 * frown + 0.022 * dimple - 0.045 * stretch - 0.075 * jaw + 0.02 * upper_up + 0.02 * sneer
    )
    line = MOUTH_Y + (0.040 + corner) * flat**2.0 + (-0.030 * smile + 0.020 * frown) * dome
    line = line + dome * (
        0.045 * shrug_lower + 0.030 * shrug_upper + 0.022 * close - 0.012 * roll_lower + 0.012 * roll_upper
    )
    line = line - 0.009 * np.exp(-((t / 0.24) ** 2)) + 0.006 * np.exp(-(((flat - 0.42) / 0.2) ** 2))
    line = line + 0.015 * slide / 0.095 * t
    up = dome * (0.078 * upper_up + 0.022 * sneer + 0.055 * funnel + 0.018 * shrug_upper + (0.02 + 0.06 * smile) * jaw)
    drop = drop_jaw * box + dome * (0.090 * lower_down + 0.065 * funnel + 0.055 * tongue)
    drop = drop * (1.0 - 0.45 * press * (1.0 - jaw))
    upper, lower = line + up, line - drop

    upper_half = 0.072 * (1 - 0.88 * roll_upper) * (1 - 0.5 * press) * (1 - 0.30 * close) * (1 + 0.35 * shrug_upper)
    upper_half = (
        upper_half * (1 + 0.30 * pucker + 0.40 * funnel) * (1 - 0.22 * smile - 0.15 * stretch - 0.20 * upper_up)
    )
    lower_half = 0.098 * (1 - 0.88 * roll_lower) * (1 - 0.5 * press) * (1 - 0.22 * close) * (1 + 0.30 * shrug_lower)
    lower_half = lower_half * (1 + 0.25 * pucker + 0.35 * funnel) * (1 - 0.16 * smile - 0.15 * stretch)
    lower_half = lower_half * (1 + 0.22 * w("jawForward")) * (1 - 0.12 * lower_down)
    bow = (1 - flat**2.1) ** 0.8 * (1 - 0.20 * np.exp(-((t / 0.13) ** 2)))
    belly = (1 - flat**2.2) ** 0.72
    lower_x = x + 0.075 * jaw_slide * dome

    u = np.linspace(-1.0, 1.0, 25, dtype=np.float32)
    curl = 0.5 * (w("mouthSmileLeft") + w("mouthSmileRight"))
    arch = (0.022 + 0.085 * curl) * u**2
    teeth_up = np.concatenate([_xy(u * 0.25, 0.16 + MOUTH_Y + 0 * u), _xy(u[::-1] * 0.25, MOUTH_Y - 0.052 + arch)])
    edge = MOUTH_Y - 0.040 - 0.375 * drop_jaw / 0.40 + arch
    teeth_low = np.concatenate(
        [_xy(u * 0.22 + 0.05 * jaw_slide, edge), _xy(u[::-1] * 0.22 + 0.05 * jaw_slide, edge - 0.16)]
    )
    a = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    swell = 0.02 + 0.11 * drop_jaw / 0.40 + 0.03 * tongue
    inside = _xy(0.15 * np.cos(a) + 0.06 * jaw_slide, MOUTH_Y - 0.055 - 0.93 * drop_jaw + swell * np.sin(a))
    middle = len(t) // 2
    top = float(upper[middle]) - 0.012
    length = tongue * (float(drop[middle]) + 0.225)
    v = np.linspace(0.0, 1.0, 14)
    reach = (
        0.118
        * (0.82 + 0.18 * np.sin(np.pi * v))
        * np.sqrt(1.0 - np.clip((v - 0.55) / 0.45, 0, 1) ** 2.4)
        * (0.4 + 0.6 * tongue)
    )
    reach = np.minimum(reach, 0.85 * float(half[middle]))
    out_x = float(x[middle]) + 0.03 * jaw_slide
    out = np.concatenate([_xy(out_x - reach, top - length * v), _xy(out_x + reach[::-1], top - length * v[::-1])])
    push = dome * (0.11 * pucker + 0.11 * funnel - 0.015 * (roll_upper + roll_lower))
    lower_push = push - 0.10 * drop_jaw / 0.40 * box + dome * (0.07 * w("jawForward") + 0.03 * shrug_lower)
    return Mouth(
        _xy(x, upper + upper_half * bow), _xy(x, upper), _xy(lower_x, lower), _xy(lower_x, lower - lower_half * belly),
        (push + 0.03 * shrug_upper * dome).astype(np.float32), lower_push.astype(np.float32),
        teeth_up, teeth_low, inside, out, tongue,
    )  # fmt: skip


class _Lines:
    """Collects creases as parabolas, which are then evaluated together."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []

    def add(self, start: _Point, through: _Point, end: _Point, width: float, depth: float) -> None:
        if depth > 0.004:
            self._rows.append((*start, *through, *end, width, depth))

    def creases(self, curves: list[tuple[Floats, float, float]]) -> Creases:
        """The collected creases and further ones, each as (curve (13, 2), half width in dm, depth 0 to 1)."""
        rows = np.array(self._rows, np.float32).reshape(-1, 8)
        a, q, b = rows[:, None, 0:2], rows[:, None, 2:4], rows[:, None, 4:6]
        t = np.linspace(0.0, 1.0, 13, dtype=np.float32)[None, :, None]
        arcs = (1 - t) ** 2 * a + 2 * t * (1 - t) * (2 * q - (a + b) / 2) + t**2 * b
        return Creases(
            np.concatenate([arcs, np.stack([c for c, _, _ in curves])]).astype(np.float32),
            np.concatenate([rows[:, 6], [width for _, width, _ in curves]]).astype(np.float32),
            np.concatenate([rows[:, 7], [depth for _, _, depth in curves]]).astype(np.float32),
        )


def _creases(w: _Weights, mouth: Mouth, eyes: list[Eye]) -> Creases:
    lines = _Lines()
    inner, outer = w("browInnerUp"), 0.5 * (w("browOuterUpLeft") + w("browOuterUpRight"))
    raised = max(inner, outer)
    bend = 0.018 + 0.03 * outer - 0.035 * inner
    for k, level in enumerate((0.53, 0.60, 0.67)):
        x, y = 0.30 + 0.12 * outer - 0.05 * k, level + 0.05 * raised
        lines.add((-x, y - bend), (0, y), (x, y - bend), 0.010, 0.42 * raised)
    for name, side in SIDES:
        _side_creases(lines, w, mouth, name, side)
    frown = max(w("mouthFrownLeft"), w("mouthFrownRight"))
    shrug = w("mouthShrugLower")
    chin = max(shrug, 0.6 * frown, 0.6 * w("mouthRollLower"))
    low = float(mouth.outer_lower[len(_T) // 2, 1])
    x = 0.10 * (w("jawLeft") - w("jawRight"))
    depth = min(1.0, 0.22 + 0.5 * chin + 0.35 * w("jawForward"))
    lines.add((x - 0.13, low - 0.055), (x, low - 0.032), (x + 0.13, low - 0.055), 0.018, depth)
    for dx, dy in ((-0.07, -0.14), (0.05, -0.16), (-0.01, -0.12), (0.09, -0.12)):
        y = low + dy
        lines.add((dx - 0.02, y), (dx, y - 0.008), (dx + 0.02, y), 0.008, 0.5 * shrug)
    for dx in (-0.035, 0.035):
        lines.add((dx * 0.9, -0.40), (dx, -0.44), (dx * 1.1, -0.49), 0.010, 0.07 + 0.40 * w("mouthShrugUpper"))
    lids = [(eye.crease[::2], 0.012, 0.60) for eye in eyes] + [(eye.fold[::2], 0.012, eye.fold_depth) for eye in eyes]
    return lines.creases(lids)


def _side_creases(lines: _Lines, w: _Weights, mouth: Mouth, name: str, side: float) -> None:
    smile, sneer, up = w("mouthSmile" + name), w("noseSneer" + name), w("mouthUpperUp" + name)
    frown, dimple, down = w("mouthFrown" + name), w("mouthDimple" + name), w("browDown" + name)
    squint, cheek, stretch = w("eyeSquint" + name), w("cheekSquint" + name), w("mouthStretch" + name)
    x, y = (float(v) for v in mouth.inner_upper[-1 if side > 0 else 0])

    fold = min(0.80, 0.03 + 0.28 * smile + 0.45 * sneer + 0.35 * up + 0.30 * cheek + 0.2 * frown + 0.10 * w("jawOpen"))
    start = (side * (0.175 + 0.015 * sneer), -0.265 + 0.03 * sneer)
    end = (x + side * (0.075 + 0.02 * smile), y - 0.01 - 0.05 * frown)
    middle = ((start[0] + end[0]) / 2 + side * (0.040 + 0.008 * smile), (start[1] + end[1]) / 2 + 0.018 + 0.008 * smile)
    lines.add(start, middle, end, 0.014, fold)

    tuck = min(1.0, 0.12 + 0.8 * dimple + 0.4 * smile + 0.35 * w("mouthPress" + name) + 0.35 * stretch)
    r = 0.020 + 0.035 * dimple + 0.012 * smile
    lines.add(
        (x + side * 0.014, y + r), (x + side * (0.022 + 0.012 * dimple), y), (x + side * 0.01, y - r), 0.013, tuck
    )
    lines.add(
        (x + side * 0.01, y - 0.03), (x + side * 0.035, y - 0.09), (x + side * 0.03, y - 0.16), 0.014, 0.45 * frown
    )
    lines.add((x + side * 0.05, y + 0.1), (x + side * 0.11, y), (x + side * 0.08, y - 0.12), 0.014, 0.45 * stretch)
    puff = 0.6 * w("cheekPuff")
    lines.add((x + side * 0.06, y + 0.13), (x + side * 0.03, y), (x + side * 0.06, y - 0.15), 0.020, puff)
    inward = side * (0.045 - 0.01 * down)
    lines.add((side * 0.055, 0.29 - 0.03 * down), (inward, 0.36), (side * 0.06, 0.44), 0.012, 0.65 * down)
    for level in (0.115, 0.065):
        lines.add(
            (side * 0.015, level), (side * 0.055, level + 0.012), (side * 0.095, level + 0.045), 0.009, 0.7 * sneer
        )
    wx, wy = side * (0.112 + 0.022 * sneer), 0.038 * sneer
    wing = (wx + side * 0.034, -0.272 + wy)
    lines.add((wx, -0.225 + wy), wing, (wx - side * 0.004, -0.322 + 0.6 * wy), 0.013, 0.5)
    wrinkle = 0.4 * min(1.0, 0.35 * squint + 0.55 * cheek + 0.2 * smile)
    x, y = side * (EYE[0] + 0.235), float(EYE[1])
    for dy in (0.035, -0.002, -0.04):
        lines.add((x, y + dy), (x + side * 0.045, y + 1.5 * dy), (x + side * 0.09, y + 2.3 * dy), 0.008, wrinkle)


def features(weights: Floats) -> Features:
    """The curves of a face with the (52,) ARKit weights, 0 to 1."""
    w = _Weights(weights)
    eyes, mouth = [_eye(w, n, s) for n, s in SIDES], _mouth(w)
    a = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    nostrils = []
    for name, side in SIDES:
        sneer = w("noseSneer" + name)
        flare = 1.0 + 0.25 * sneer + 0.12 * w("jawOpen")
        nx, ny = side * (0.058 + 0.012 * sneer), -0.318 + 0.022 * sneer
        nostrils.append(_xy(nx + 0.032 * flare * np.cos(a), ny + 0.0145 * flare * np.sin(a) + side * 0.008 * np.cos(a)))
    return Features(eyes, [_brow(w, n, s) for n, s in SIDES], mouth, nostrils, _creases(w, mouth, eyes))
