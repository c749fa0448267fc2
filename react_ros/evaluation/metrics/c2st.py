"""Whether a classifier can tell generated listeners from real ones (Lopez-Paz and Oquab 2017).

Windows of 2 s, described by their statistics and spectra, go to gradient-boosted trees. What counts is the balanced
accuracy on clips that the classifier has not seen, of a group (a dyad, a session) that it has not seen either: 0.5
means that it cannot tell, 1 that every window gives itself away.

In the corpora action units are occurrences, 0 or 1, and in most predictions they are anything in between, which would
settle the matter at once and say nothing: unless asked otherwise, both sides' units are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.evaluation.metrics.windows import STATISTICS, AnyFloats, Doubles, window_statistics, windows
from react_ros.face import ATTRIBUTES, AU, FACE_MODEL, FPS

FOLDS = 5
FLIPS = 9999
"""Random swaps of the permutation test: the least p-value is 1 in 10,000."""
SPECTRUM_HZ = (0.25, 1.0, 2.0, 4.0, 8.0, 12.5)
"""Edges of the five bands whose power is compared."""
LEAST_POWER = 1e-8
"""Power of motion of 1e-4: below it, formats differ in rounding and not faces in motion."""
_TREES: dict[str, Any] = {
    "max_iter": 60, "learning_rate": 0.15, "max_leaf_nodes": 8, "min_samples_leaf": 20, "max_bins": 63,
    "early_stopping": False,
}  # fmt: skip
"""Small trees, few of them: windows of a clip are alike, and what is learned must hold for other people."""
MOST_WINDOWS = 20_000
"""A side; of more, every k-th is used."""


@dataclass(frozen=True, slots=True)
class TwoSampleResult:
    """What the classifier reached on clips it had not seen."""

    accuracy: float
    """Balanced, over windows: 0.5 cannot tell, 1 always can."""
    low: float
    """95 % interval: Wilson's, with as many draws as the spread of the groups is worth (`_interval`)."""
    high: float
    p_value: float
    """Of an accuracy as high when real and generated are the same, groups being swapped at random. One-sided."""
    windows: int
    """Of both sides."""
    clips: int
    groups: int
    features: int


def two_sample_test(
    real: Sequence[AnyFloats],
    generated: Sequence[AnyFloats],
    groups: Sequence[str] | None = None,
    *,
    binarize: bool = True,
    fps: float = FPS,
    seed: int = 0,
) -> TwoSampleResult:
    """Test n clips' real listeners against one generated listener each.

    real, generated: n arrays (T, 25) of attributes, or (T, 83) of attributes followed by the 58 of the face model;
    of several samples a clip, one (or the mean of as many tests).
    groups: n names; clips of one name (the same people) are never on both sides of a split. None: every clip its own.
    Raises ValueError, in one sentence, for less than 2 groups, clips of less than 2 s, and shapes that do not fit.
    """
    names = [str(k) for k in range(len(real))] if groups is None else list(groups)
    if not len(real) == len(generated) == len(names):
        raise ValueError(
            f"{len(real)} real and {len(generated)} generated listeners of {len(names)} groups: as many each are needed"
        )
    if len(set(names)) < 2:
        raise ValueError("the two-sample test needs clips of 2 groups or more, to train on one and test on another")
    x, label, clip = _table(real, generated, binarize, fps)
    _, group_of_clip = np.unique(names, return_inverse=True)
    group = group_of_clip[clip]
    right = _out_of_fold(x, label, group, seed) == label
    n = int(group.max()) + 1
    # Balanced within each group: (G, 2) right answers and windows of the real and of the generated side.
    hits, count = np.zeros((n, 2)), np.zeros((n, 2))
    np.add.at(hits, (group, label), right)
    np.add.at(count, (group, label), 1.0)
    each = (hits / count).mean(axis=1)  # (G,)
    weight = count.sum(axis=1) / count.sum()
    accuracy = min(float(weight @ each), 1.0)
    low, high = _interval(accuracy, each, weight, len(label))
    return TwoSampleResult(
        accuracy, low, high, _p_value(weight * (each - 0.5), seed), len(label), len(real), n, x.shape[1]
    )


def _table(
    real: Sequence[AnyFloats], generated: Sequence[AnyFloats], binarize: bool, fps: float
) -> tuple[Doubles, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """(W, F) features, (W,) 0 real or 1 generated, (W,) clip; as many windows of either side in every clip."""
    parts, labels, clips = [], [], []
    for k, pair in enumerate(zip(real, generated, strict=True)):
        sides = [_features(_channels(x, k, binarize), fps) for x in pair]
        n = min(len(s) for s in sides)
        if n == 0:
            raise ValueError(f"clip {k} is shorter than a window of 2 s")
        if sides[0].shape[1] != sides[1].shape[1]:
            raise ValueError(f"clip {k} has other channels in its real than in its generated listener")
        for label, side in enumerate(sides):
            parts.append(side[:n])
            labels.append(np.full(n, label))
            clips.append(np.full(n, k))
    x, label, clip = np.concatenate(parts), np.concatenate(labels), np.concatenate(clips)
    thin = -(-len(x) // (2 * MOST_WINDOWS))
    kept = np.sort(np.concatenate([np.flatnonzero(label == side)[::thin] for side in (0, 1)]))
    return x[kept], label[kept], clip[kept]


def _channels(listener: AnyFloats, clip: int, binarize: bool) -> Doubles:
    x = np.array(listener, np.float64)
    if x.ndim != 2 or x.shape[1] not in (ATTRIBUTES, ATTRIBUTES + FACE_MODEL) or not np.isfinite(x).all():
        raise ValueError(f"clip {clip} has a listener of shape {x.shape}: finite (T, 25) or (T, 83) are needed")
    if binarize:
        x[:, AU] = np.round(x[:, AU])
    return x


def _features(channels: Doubles, fps: float) -> Doubles:
    """(W, C * 13): the windows' statistics, and the logarithm of their power in five bands."""
    w = windows(channels, fps)
    if not len(w):
        return np.zeros((0, channels.shape[1] * (len(STATISTICS) + len(SPECTRUM_HZ) - 1)))
    taper = np.hanning(w.shape[1])[:, None]
    power = np.abs(np.fft.rfft((w - w.mean(axis=1, keepdims=True)) * taper, axis=1)) ** 2 / (taper**2).sum() ** 2
    hertz = np.fft.rfftfreq(w.shape[1], 1.0 / fps)
    edges = pairwise(SPECTRUM_HZ)
    bands = [power[:, (hertz > low) & (hertz <= high)].sum(axis=1) for low, high in edges]
    spectra = np.log(np.stack(bands, axis=2) + LEAST_POWER)  # (W, C, 5)
    return np.concatenate([window_statistics(channels, fps), spectra.reshape(len(w), -1)], axis=1)


def _out_of_fold(
    x: Doubles, label: npt.NDArray[np.intp], group: npt.NDArray[np.intp], seed: int
) -> npt.NDArray[np.intp]:
    """(W,) what the classifier says of windows of groups that it was not trained on."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    n = int(group.max()) + 1
    fold = np.random.default_rng(seed).permutation(n) % min(FOLDS, n)
    said = np.empty(len(label), np.intp)
    for k in range(min(FOLDS, n)):
        held = fold[group] == k
        trees = HistGradientBoostingClassifier(random_state=seed, **_TREES)
        said[held] = trees.fit(x[~held], label[~held]).predict(x[held])
    return said


def _interval(accuracy: float, each: Doubles, weight: Doubles, most: int) -> tuple[float, float]:
    """Wilson's 95 % interval for as many independent draws as would spread like the groups do.

    The groups of a fold share a classifier and the folds share training data, so that the plain spread is too small:
    Nadeau and Bengio's correction (2003) multiplies the variance by 1 + F / (F - 1) for F folds.
    """
    folds = min(FOLDS, len(each))
    spread = float((weight**2) @ (each - accuracy) ** 2) * len(each) / (len(each) - 1) * (1.0 + folds / (folds - 1))
    draws = accuracy * (1.0 - accuracy) / spread if spread > 0.0 else len(each)
    n, z = float(np.clip(draws, 1.0, most)), 1.96
    middle = (accuracy + z * z / (2.0 * n)) / (1.0 + z * z / n)
    half = z / (1.0 + z * z / n) * np.sqrt(accuracy * (1.0 - accuracy) / n + z * z / (4.0 * n * n))
    return float(middle - half), float(middle + half)


def _p_value(beyond: Doubles, seed: int) -> float:
    """If the two sides are the same, swapping them in a group turns what it is beyond chance into its opposite."""
    signs = np.random.default_rng(seed + 1).choice([-1.0, 1.0], (FLIPS, len(beyond)))
    return float((1 + np.sum(signs @ beyond >= beyond.sum() - 1e-12)) / (FLIPS + 1))
