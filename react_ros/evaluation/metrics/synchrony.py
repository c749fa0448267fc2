"""FRSyn: lag of a reaction behind its speaker, by time-lagged cross-correlation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from react_ros.corpus.dtw import compiled
from react_ros.evaluation.metrics.appropriateness import Mode

Series = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]

MOST_LAG = 49
"""Greatest lag in frames: lags are -49 to 49 (just under 2 s)."""
_TIE = 1e-12
"""Mean correlations that differ by less than this are taken as equal."""


def frsyn_offsets(predictions: Series, speaker: Series, mode: Mode = "official") -> Doubles:
    """(P,) offset of each prediction in frames, -49 to 49; negative where the reaction comes after the speaker.

    The offset is minus the lag with the greatest Pearson correlation, averaged over channels; a reaction that repeats
    the speaker 12 frames later has -12. A channel constant within a lag's segment has no correlation there.

    official: one such channel makes the lag NaN, and the first NaN lag is taken; of equal lags the first.
    corrected: such a channel is left out of that lag's mean; of lags within 1e-12 the one nearest to 0 is taken (of two
    equally near, the later reaction); NaN where no channel has a correlation at any lag.

    predictions: (P, T, D); speaker: (T, D); T >= 2, any D. Clips of fewer than 51 frames have lags up to T - 2 only.
    Raises ValueError for other shapes.
    """
    if predictions.ndim != 3 or predictions.shape[1:] != speaker.shape or 0 in predictions.shape or len(speaker) < 2:
        raise ValueError(
            f"FRSyn compares predictions (P, T, D) with a speaker (T, D) of at least 2 frames, not {predictions.shape} "
            f"with {speaker.shape}"
        )
    pick = _official_lag if mode == "official" else _corrected_lag
    return np.array([-pick(c) for c in lagged_correlations(predictions, speaker)])


def frsyn(offsets: Doubles, mode: Mode = "official") -> float | None:
    """FRSyn of the offsets (…, P) of clips: the mean of their absolute values; None where none is defined.

    official: over prediction 0 only, like the challenge's parallel code; corrected: over all with an offset.
    """
    sizes = np.abs(offsets[..., 0] if mode == "official" else offsets)
    defined = sizes[~np.isnan(sizes)]
    return float(defined.mean()) if defined.size else None


def lagged_correlations(predictions: Series, speaker: Series) -> Doubles:
    """(P, 2 L + 1, D) Pearson correlations at lags -L..L, L = min(49, T - 2); NaN where a segment is constant.

    Lag l > 0 correlates prediction[l:] with speaker[:-l]; l < 0 prediction[:l] with speaker[-l:]. Channels are float32
    as in corpora: "constant" means equal float32 values, for which np.corrcoef is NaN.
    """
    longest = min(MOST_LAG, len(speaker) - 2)
    x = np.ascontiguousarray(predictions.transpose(0, 2, 1), np.float32).astype(np.float64)
    y = np.ascontiguousarray(speaker.T, np.float32).astype(np.float64)
    out = np.empty((len(x), x.shape[1], 2 * longest + 1))
    _correlate(x, y, longest, out)
    return out.transpose(0, 2, 1)


def _official_lag(correlations: Doubles) -> float:
    # The official code keeps correlations and their mean in float32; np.argmax, like torch's, takes the first NaN.
    mean = correlations.astype(np.float32).mean(axis=1, dtype=np.float64).astype(np.float32)
    return float(int(np.argmax(mean)) - len(mean) // 2)


def _corrected_lag(correlations: Doubles) -> float:
    defined = ~np.isnan(correlations)
    channels = defined.sum(axis=1)
    if not channels.any():
        return np.nan
    total = np.where(defined, correlations, 0.0).sum(axis=1)
    mean = np.where(channels > 0, total / np.maximum(channels, 1), -np.inf)
    lags = np.flatnonzero(mean >= mean.max() - _TIE) - len(mean) // 2
    return float(min(lags, key=lambda lag: (abs(lag), -lag)))


@compiled()
def _segments(x: Doubles, longest: int, means: Doubles, roots: Doubles) -> None:
    """Mean and root of the summed squared deviations of x[l:] (row 0) and x[: T - l] (row 1), l = 0..longest.

    Welford's update only adds frames, without cancellation; sums of float32 values are exact, so that the root is
    exactly 0 for constant segments and for no others.
    """
    n = len(x)
    for end in range(2):
        step, first = (-1, n - 1) if end == 0 else (1, 0)
        mean = total = spread = 0.0
        for k in range(n):
            value = x[first + step * k]
            total += value
            before, mean = mean, total / (k + 1)
            spread += (value - before) * (value - mean) if k else 0.0
            if n - 1 - k <= longest:
                means[end, n - 1 - k] = mean
                roots[end, n - 1 - k] = np.sqrt(spread)


@compiled(reorder=True)
def _product(x: Doubles, x_mean: float, y: Doubles, y_mean: float) -> float:
    total = 0.0
    for t in range(len(x)):
        total += (x[t] - x_mean) * (y[t] - y_mean)
    return total


@compiled()
def _correlate(predictions: Doubles, speaker: Doubles, longest: int, out: Doubles) -> None:
    """predictions: (P, D, T); speaker: (D, T); out: (P, D, 2 longest + 1)."""
    n = speaker.shape[1]
    x_means, x_roots = np.empty((2, longest + 1)), np.empty((2, longest + 1))
    y_means, y_roots = np.empty((2, longest + 1)), np.empty((2, longest + 1))
    for d in range(len(speaker)):
        y = speaker[d]
        _segments(y, longest, y_means, y_roots)
        for p in range(len(predictions)):
            x = predictions[p, d]
            _segments(x, longest, x_means, x_roots)
            for lag in range(-longest, longest + 1):
                size = abs(lag)
                late = 0 if lag >= 0 else 1  # 0: the prediction's segment begins later, 1: the speaker's
                root = x_roots[late, size] * y_roots[1 - late, size]
                if root == 0.0:
                    out[p, d, lag + longest] = np.nan
                    continue
                a = x[size:] if lag >= 0 else x[: n - size]
                b = y[: n - size] if lag >= 0 else y[size:]
                r = _product(a, x_means[late, size], b, y_means[1 - late, size]) / root
                out[p, d, lag + longest] = min(1.0, max(-1.0, r))
