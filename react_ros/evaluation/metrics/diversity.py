"""Variability of reactions: between samples (FRDiv), over time (FRVar), between speakers (FRDvs)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]


def frdiv(predictions: Series) -> float:
    """FRDiv of one clip: mean over ordered pairs of its P predictions of ||p_i - p_j||^2 / (T D); 0 for P = 1.

    predictions: (P, T, D), any D. On 58 coefficients: ReactFace's S-MSE.
    """
    x = _checked(predictions).astype(np.float64)
    if len(x) == 1:
        return 0.0
    # sum over i, j of ||p_i - p_j||^2 = 2 P sum of ||p_i - mean||^2
    x -= x.mean(axis=0)
    return float(2.0 * np.square(x, out=x).sum() / ((len(x) - 1) * x[0].size))


def frvar(predictions: Series) -> float:
    """FRVar of one clip: variance over time (ddof = 1), mean over predictions and channels.

    predictions: (P, T, D), T >= 2, any D. On 58 coefficients: ReactFace's DivF. Raises ValueError for a single frame.
    """
    x = _checked(predictions)
    if x.shape[1] < 2:
        raise ValueError("FRVar needs at least 2 frames")
    return float(np.var(x, axis=1, ddof=1, dtype=np.float64).mean())


@dataclass(slots=True)
class DvsSums:
    """Sums for FRDvs over clips: mean and squared deviation from it, per prediction index.

    FRDvs is, per prediction index, the sum over ordered pairs of N clips of ||p_n - p_m||^2, over N (N - 1) T D; mean
    over the P indices. That sum is 2 N times the squared deviation from the mean, so that clips can be added one by one
    (Welford 1962) and sums merged (Chan et al. 1979) in a numerically stable way: equal clips score exactly 0. The same
    blocks merged in the same order give the same bits, on whichever machine each was computed.
    """

    count: int = 0
    mean: Doubles = field(default_factory=lambda: np.zeros((0, 0, 0)))
    """(P, T, D)."""
    spread: Doubles = field(default_factory=lambda: np.zeros(0))
    """(P,) sum over clips, frames and channels of the squared distance to the mean."""

    def add(self, predictions: Series) -> None:
        """Add one clip, (P, T, D). Raises ValueError for a shape that differs from that of the clips before."""
        x = _checked(predictions).astype(np.float64)
        if self.count == 0:
            self.count, self.mean, self.spread = 1, x, np.zeros(len(x))
            return
        self._expect(x)
        self.count += 1
        x -= self.mean
        self.mean += x / self.count
        self.spread += np.einsum("ptd,ptd->p", x, x) * ((self.count - 1) / self.count)

    @classmethod
    def merge(cls, parts: Iterable[DvsSums]) -> DvsSums:
        """The sums over the clips of all parts, merged in the given order. Raises ValueError where shapes differ."""
        out = cls()
        for part in parts:
            if part.count == 0:
                continue
            if out.count == 0:
                out = cls(part.count, part.mean.copy(), part.spread.copy())
                continue
            out._expect(part.mean)
            count = out.count + part.count
            gap = part.mean - out.mean
            out.mean += gap * (part.count / count)
            out.spread += part.spread + np.einsum("ptd,ptd->p", gap, gap) * (out.count * part.count / count)
            out.count = count
        return out

    def value(self) -> float | None:
        """FRDvs; None for fewer than 2 clips. On 58 coefficients: ReactFace's DivC."""
        if self.count < 2:
            return None
        return float(2.0 * self.spread.mean() / ((self.count - 1) * self.mean[0].size))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As arrays to store."""
        return {"count": np.array(self.count), "mean": self.mean, "spread": self.spread}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> DvsSums:
        """The inverse of `to_arrays`."""
        return cls(int(arrays["count"]), np.array(arrays["mean"]), np.array(arrays["spread"]))

    def _expect(self, x: Doubles) -> None:
        if x.shape != self.mean.shape:
            raise ValueError(f"FRDvs needs clips of one shape (P, T, D), not {x.shape} and {self.mean.shape}")


def _checked(predictions: Series) -> Series:
    if predictions.ndim != 3 or 0 in predictions.shape:
        raise ValueError(f"predictions must be (P, T, D) without a 0, not {predictions.shape}")
    return predictions
