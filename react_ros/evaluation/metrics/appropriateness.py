"""Similarity to the reactions of appropriate listeners: FRCorr and FRDist of the REACT challenge."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from react_ros.corpus.dtw import frdist_matrix

Mode = Literal["official", "corrected"]
"""official: the challenge's public code, with its quirks; corrected: what its definitions intend."""
Series = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Listeners = Series | Sequence[Series]

_log = logging.getLogger(__name__)

OUT_OF = 10
"""The challenge sums FRCorr and FRDist over its 10 predictions; the corrected mode scales any P to that."""
_EPSILON = 1e-8
"""Added to the denominator of the official CCC."""
_TOGETHER = 128
"""Listeners per matrix product, which bounds the memory."""


def current_mode(mode: str) -> Mode:
    """The mode of that name; "sound", which "corrected" was called until version 0.1, is logged.

    Raises ValueError for an unknown mode.
    """
    if mode == "sound":
        _log.warning("the metric mode sound is called corrected now")
        return "corrected"
    if mode not in ("official", "corrected"):
        raise ValueError(f"mode is {mode!r}: it must be official or corrected")
    return mode


def frcorr(predictions: Series, listeners: Listeners, mode: Mode = "official", *, crop: bool = False) -> float:
    """FRCorr of one clip, 10 at best: per prediction, the greatest CCC with any appropriate listener.

    CCC is Lin's concordance correlation coefficient (1989), averaged over channels without weights. Official: 1e-8 in
    the denominator, a channel constant in either series counts 0, the sum over predictions. Corrected: no epsilon; a
    channel that is the same constant in both series has no CCC (0/0) and is left out, and where all are, the series are
    identical and score 1; ten times the mean over predictions.

    predictions: (P, T, D). listeners: (K, T, D), or K of (U, D). crop: whether lengths may differ, and the longer
    series is cut. Raises ValueError for other shapes.
    """
    best = np.full(len(predictions), -np.inf)
    for group in by_length(predictions, listeners):
        frames = min(predictions.shape[1], group.shape[1])
        if not crop and frames != max(predictions.shape[1], group.shape[1]):
            raise ValueError(
                f"FRCorr compares frame by frame, but predictions have {predictions.shape[1]} frames and a listener "
                f"{group.shape[1]}: set crop"
            )
        for s in range(0, len(group), _TOGETHER):
            ccc = concordance(predictions[:, :frames], group[s : s + _TOGETHER, :frames], mode)
            best = np.maximum(best, ccc.max(axis=1))
    return _out_of_ten(best, mode)


def frdist(predictions: Series, listeners: Listeners, mode: Mode = "official") -> float:
    """FRDist of one clip, 0 at best: per prediction, the DTW distance to the nearest appropriate listener.

    The distance is dtw(AU)/15 + dtw(VA) + dtw(expressions)/8 (see `react_ros.corpus.dtw`). Official: the sum over
    predictions; corrected: ten times their mean.

    predictions: (P, T, 25). listeners: (K, U, 25), or K of (U, 25), of any lengths. Raises ValueError for other shapes.
    """
    nearest = [frdist_matrix(predictions, group).min(axis=1) for group in by_length(predictions, listeners)]
    return _out_of_ten(np.min(nearest, axis=0), mode)


def concordance(predictions: Series, listeners: Series, mode: Mode) -> Doubles:
    """(P, K) CCC of (P, T, D) with (K, T, D), mean over channels; modes as in `frcorr`."""
    x, x_mean, x_variance = _centred(predictions)
    y, y_mean, y_variance = _centred(listeners)
    covariance = x @ y.transpose(0, 2, 1) / x.shape[2]  # (D, P, K)
    spread = x_variance[:, :, None] + y_variance[:, None, :] + (x_mean[:, :, None] - y_mean[:, None, :]) ** 2
    if mode == "official":
        return (2.0 * covariance / (spread + _EPSILON)).mean(axis=0)
    defined = spread > 0.0
    ccc = np.divide(2.0 * covariance, spread, out=np.zeros_like(spread), where=defined)
    channels = defined.sum(axis=0)
    return np.where(channels > 0, ccc.sum(axis=0) / np.maximum(channels, 1), 1.0)


def _centred(series: Series) -> tuple[Doubles, Doubles, Doubles]:
    """Of (n, T, D): deviations from the mean over time (D, n, T), means (D, n), population variances (D, n)."""
    x = np.ascontiguousarray(series.transpose(2, 0, 1), np.float32).astype(np.float64)
    # Sums of float32 values are exact in float64, so that a constant channel has a variance of exactly 0.
    mean = x.mean(axis=2)
    x -= mean[:, :, None]
    return x, mean, np.einsum("dnt,dnt->dn", x, x) / x.shape[2]


def by_length(predictions: Series, listeners: Listeners) -> list[npt.NDArray[Any]]:
    """The listeners as one array per length. Raises ValueError for shapes that do not match (P, T, D)."""
    if predictions.ndim != 3 or 0 in predictions.shape:
        raise ValueError(f"predictions must be (P, T, D) without a 0, not {predictions.shape}")
    if len(listeners) == 0:
        raise ValueError("there is no appropriate listener to compare with")
    shapes = [listener.shape for listener in listeners]
    wrong = next((s for s in shapes if len(s) != 2 or s[1] != predictions.shape[2] or not s[0]), None)
    if wrong is not None:
        raise ValueError(f"a listener must be (frames, {predictions.shape[2]}) like the predictions, not {wrong}")
    if isinstance(listeners, np.ndarray):
        return [listeners]
    lengths = sorted({s[0] for s in shapes})
    return [np.stack([x for x in listeners if len(x) == length]) for length in lengths]


def _out_of_ten(values: Doubles, mode: Mode) -> float:
    return float(values.sum() if mode == "official" else OUT_OF * values.mean())
