"""Confidence intervals over clips that are not independent: a cluster bootstrap over groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 4000
LEAST_GROUPS = 5
"""With fewer groups there is no interval: their spread cannot be estimated."""


@dataclass(frozen=True, slots=True)
class Value:
    """A mean over clips with its 95 % interval; low and high are None without an interval."""

    mean: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """In plain types, for JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def mean_with_interval(values: npt.NDArray[np.floating], groups: npt.NDArray[np.integer]) -> Value | None:
    """The mean of (n,) values with its 95 % percentile interval; whole groups are resampled with replacement.

    groups: (n,) group number of each value; clips that share appropriate listeners are not independent. NaN values are
    left out. Fewer than 5 groups: no interval. No value left: None. The same input gives the same interval.
    """
    known = np.isfinite(values)
    if not known.any():
        return None
    kept = values[known].astype(np.float64)
    _, index = np.unique(groups[known], return_inverse=True)
    sums, counts = np.bincount(index, kept), np.bincount(index)
    mean = float(kept.mean())
    if len(sums) < LEAST_GROUPS:
        return Value(mean)
    draws = _draws(len(sums))
    low, high = np.percentile((draws @ sums) / (draws @ counts), [2.5, 97.5])
    return Value(mean, float(low), float(high))


def statistic_with_interval(
    sums: npt.NDArray[np.float64], statistic: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
) -> Value | None:
    """A function of sums over groups, e.g. a ratio or a difference of ratios, with its 95 % percentile interval.

    sums: (groups, …), at least one group. statistic: (…, columns) totals to (…,) values; resamples for which it is not
    finite (nothing in them to measure it by) are left out. Fewer than 5 groups: no interval. Not finite over all
    groups: None.
    """
    value = float(statistic(sums.sum(axis=0)))
    if not np.isfinite(value):
        return None
    if len(sums) < LEAST_GROUPS:
        return Value(value)
    resampled = statistic(np.tensordot(_draws(len(sums)), sums, axes=1))
    low, high = np.percentile(resampled[np.isfinite(resampled)], [2.5, 97.5])
    return Value(value, float(low), float(high))


def _draws(groups: int) -> npt.NDArray[np.int64]:
    """(RESAMPLES, groups): how often each group is in each resample; always the same."""
    return np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)


def connected(related: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """(n,) number of the connected component of each of n clips. related: (n, n), taken as symmetric."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    return connected_components(csr_array(related), directed=False)[1].astype(np.intp)
