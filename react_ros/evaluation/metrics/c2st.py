"""Classifier two-sample test (C2ST) of generated against real listeners (Lopez-Paz and Oquab 2017).

Gradient-boosted trees classify windows of 2 s by their statistics and spectra. The result, C2ST accuracy, is the
balanced accuracy on windows of groups (a dyad, a session) that are not in the training set: 0.5 is chance, 1 means that
every window is recognised.

In the corpora action units are occurrences, 0 or 1; most predictions are anything in between, by which a classifier
would recognise them at once. By default the units of both sides are therefore rounded.
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
"""Random swaps of the permutation test; the least p-value is 1e-4."""
SPECTRUM_HZ = (0.25, 1.0, 2.0, 4.0, 8.0, 12.5)
"""Edges of the five frequency bands whose power is a feature."""
LEAST_POWER = 1e-8
"""Power of an amplitude of 1e-4; below it, differences come from number formats."""
_TREES: dict[str, Any] = {
    "max_iter": 60, "learning_rate": 0.15, "max_leaf_nodes": 8, "min_samples_leaf": 20, "max_bins": 63,
    "early_stopping": False,
}  # fmt: skip
"""Few, small trees: windows of a clip are similar, and the classifier must generalise to other people."""
MOST_WINDOWS = 20_000
"""Most windows per side; of more, every k-th is used."""


@dataclass(frozen=True, slots=True)
class TwoSampleResult:
    """Result of the test on held-out groups."""

    accuracy: float
    """C2ST accuracy: balanced over windows; 0.5 is chance."""
    low: float
    """Lower end of the 95 % interval (Wilson's, with an effective sample size from the spread of groups)."""
    high: float
    p_value: float
    """One-sided, by a permutation test that swaps real and generated per group."""
    windows: int
    """Windows of both sides."""
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
    """Test the real listeners of n clips against one generated listener each.

    real, generated: n arrays (T, 25) of attributes, or (T, 83) of attributes followed by the 58 of the face model.
    groups: n names; clips of one name (the same people) are never in both training and test set. None: every clip is
    a group. binarize: round action units first. Raises ValueError, in one sentence, for fewer than 2 groups, clips of
    less than 2 s, and shapes that do not match.
    """
    names = [str(k) for k in range(len(real))] if groups is None else list(groups)
    if not len(real) == len(generated) == len(names):
        raise ValueError(
            f"{len(real)} real listeners, {len(generated)} generated ones and {len(names)} group names: "
            "the numbers must be equal"
        )
    if len(set(names)) < 2:
        raise ValueError("the two-sample test needs clips of at least 2 groups, to train on one and test on another")
    x, label, clip = _table(real, generated, binarize, fps)
    _, group_of_clip = np.unique(names, return_inverse=True)
    group = group_of_clip[clip]
    correct = _out_of_fold(x, label, group, seed) == label
    n = int(group.max()) + 1
    # Balanced within each group: (G, 2) correct windows and windows, of the real and of the generated side.
    hits, count = np.zeros((n, 2)), np.zeros((n, 2))
    np.add.at(hits, (group, label), correct)
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
    """(W, F) features, (W,) label (0 real, 1 generated), (W,) clip; both sides have equal windows in every clip."""
    parts, labels, clips = [], [], []
    for k, pair in enumerate(zip(real, generated, strict=True)):
        sides = [_features(_channels(x, k, binarize), fps) for x in pair]
        n = min(len(s) for s in sides)
        if n == 0:
            raise ValueError(f"clip {k} is shorter than a window of 2 s")
        if sides[0].shape[1] != sides[1].shape[1]:
            raise ValueError(f"the real and the generated listener of clip {k} have different channels")
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
    """(W, C * 13): window statistics, and the logarithm of the power in five bands."""
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
    """(W,) labels predicted by cross-validation over groups."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    n = int(group.max()) + 1
    fold = np.random.default_rng(seed).permutation(n) % min(FOLDS, n)
    predicted = np.empty(len(label), np.intp)
    for k in range(min(FOLDS, n)):
        held = fold[group] == k
        trees = HistGradientBoostingClassifier(random_state=seed, **_TREES)
        predicted[held] = trees.fit(x[~held], label[~held]).predict(x[held])
    return predicted


def _interval(accuracy: float, each: Doubles, weight: Doubles, most: int) -> tuple[float, float]:
    """Wilson's 95 % interval for the number of independent draws that has the variance of the groups' accuracies.

    Groups of a fold share a classifier and folds share training data, which makes the plain variance too small: Nadeau
    and Bengio's correction (2003) multiplies it by 1 + F / (F - 1) for F folds.
    """
    folds = min(FOLDS, len(each))
    spread = float((weight**2) @ (each - accuracy) ** 2) * len(each) / (len(each) - 1) * (1.0 + folds / (folds - 1))
    draws = accuracy * (1.0 - accuracy) / spread if spread > 0.0 else len(each)
    n, z = float(np.clip(draws, 1.0, most)), 1.96
    middle = (accuracy + z * z / (2.0 * n)) / (1.0 + z * z / n)
    half = z / (1.0 + z * z / n) * np.sqrt(accuracy * (1.0 - accuracy) / n + z * z / (4.0 * n * n))
    return float(middle - half), float(middle + half)


def _p_value(beyond: Doubles, seed: int) -> float:
    """Permutation test: swapping both sides of a group flips the sign of its accuracy minus 0.5."""
    signs = np.random.default_rng(seed + 1).choice([-1.0, 1.0], (FLIPS, len(beyond)))
    return float((1 + np.sum(signs @ beyond >= beyond.sum() - 1e-12)) / (FLIPS + 1))
