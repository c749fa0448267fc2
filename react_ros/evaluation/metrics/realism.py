"""FRRea-motion: Fréchet distance of the motion of generated listeners to that of real ones.

FRRea-motion is defined by this package and needs neither a renderer nor learned weights. It is not the challenge's
FRRea, which compares rendered pictures (`react_ros.evaluation.metrics.pictures`).

Definition: every listener is cut into windows of 2 s every 1 s, and each window is described by 8 numbers per channel
(`react_ros.evaluation.metrics.windows`). Each number is centred and scaled by its mean and standard deviation over the
real listeners' windows (a deviation of less than 0.02 counts as 0.02), and the 8 C numbers are projected onto 64 fixed
axes with entries +-1/sqrt(8 C) from PCG64(64) (a random projection that preserves distances, Achlioptas 2003). The
score is the squared Fréchet distance of the Gaussians of real and of generated windows in those 64 numbers: 0 for the
same windows, about 64 for motion as far away as a real listener's window is from the mean window. Finite samples of
the same population score above 0; compare a score with that of real listeners against other real listeners. The score
is little sensitive to motion played backwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.evaluation.metrics.windows import AnyFloats, Doubles, window_statistics
from react_ros.face import ATTRIBUTES, EXPRESSION_58, FACE_MODEL, FPS

GRAIN = 2.0**-16
"""Features are rounded to multiples of this, whose sums are exact in float64 in any order while the sum of squares is
below 2^21 (25 attributes of 2 million windows): shards merge to the same bits."""

AXES = 64
LEAST_DEVIATION = 0.02
"""Least scale of a window number, in the unit of its channel: limits the weight of channels that do not move in real
listeners."""


@dataclass(frozen=True, slots=True, eq=False)
class MomentSums:
    """Sums over n features (D,), from which mean and covariance follow; sums of shards are added."""

    n: int
    total: Doubles
    """(D,) sum of x."""
    squares: Doubles
    """(D, D) sum of x x^T."""

    @classmethod
    def of(cls, features: AnyFloats) -> MomentSums:
        """The sums of finite features (n, D), n >= 0. Raises ValueError for others."""
        x = np.asarray(features, np.float64)
        if x.ndim != 2 or not np.isfinite(x).all():
            raise ValueError(f"features of shape {x.shape}: finite numbers of shape (n, D) are needed")
        x = np.round(x / GRAIN) * GRAIN
        return cls(len(x), x.sum(axis=0), x.T @ x)

    def __add__(self, other: MomentSums) -> MomentSums:
        if self.total.shape != other.total.shape:
            raise ValueError(f"sums over {len(self.total)} and over {len(other.total)} features cannot be added")
        return MomentSums(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> Doubles:
        """(D,)."""
        return self.total / max(self.n, 1)

    @property
    def covariance(self) -> Doubles:
        """(D, D), unbiased (n - 1). Raises ValueError for n < 2."""
        if self.n < 2:
            raise ValueError(f"a covariance needs 2 features or more, not {self.n}")
        return (self.squares - np.outer(self.total, self.mean)) / (self.n - 1)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As arrays to store."""
        return {"n": np.array(self.n), "total": self.total, "squares": self.squares}

    @classmethod
    def from_arrays(cls, arrays: Any) -> MomentSums:
        """The inverse of `to_arrays`, also of what np.load returns."""
        return cls(int(arrays["n"]), np.asarray(arrays["total"]), np.asarray(arrays["squares"]))


def merge(sums: Iterable[MomentSums]) -> MomentSums:
    """The sum of all. Raises ValueError for none."""
    out: MomentSums | None = None
    for s in sums:
        out = s if out is None else out + s
    if out is None:
        raise ValueError("there are no sums to merge")
    return out


def frechet(mean_a: Doubles, cov_a: Doubles, mean_b: Doubles, cov_b: Doubles) -> float:
    """Squared Fréchet distance of two Gaussians: |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)) (Dowson and Landau 1982).

    tr (A B)^(1/2) is the sum of the singular values of F_a^T F_b with A = F_a F_a^T: real and exact for covariances of
    any rank, so that nothing is added to their diagonals (the usual 1e-6 shifts the result by its square root).
    """
    shared = np.linalg.svd(_factor(cov_a).T @ _factor(cov_b), compute_uv=False).sum()
    gap = mean_a - mean_b
    return max(float(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2.0 * shared), 0.0)


def _factor(covariance: Doubles) -> Doubles:
    """(D, rank) F with F F^T the covariance."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2.0)
    kept = values > max(float(values[-1]), 0.0) * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])


def frechet_of(real: MomentSums, generated: MomentSums) -> float:
    """Squared Fréchet distance of the Gaussians with the moments of two sums."""
    return frechet(real.mean, real.covariance, generated.mean, generated.covariance)


def motion_sums(listener: AnyFloats, fps: float = FPS) -> MomentSums:
    """Sums of one listener for FRRea-motion: of (T, 25) attributes, or of (T, 58) of the face model (a separate score).

    In the face model, 0.1 rad and 0.1 m count as much as an expression weight of 1. Sums of clips, samples and shards
    are added. A clip of less than 2 s has no window and adds nothing. Raises ValueError for other shapes.
    """
    x = np.array(listener, np.float64)
    if x.ndim != 2 or x.shape[1] not in (ATTRIBUTES, FACE_MODEL):
        raise ValueError(f"a listener of shape {x.shape}: (frames, {ATTRIBUTES}) or (frames, {FACE_MODEL}) is needed")
    if x.shape[1] == FACE_MODEL:
        x[:, EXPRESSION_58.stop :] *= 10.0
    return MomentSums.of(window_statistics(x, fps))


def motion_distance(real: MomentSums, generated: MomentSums) -> float:
    """FRRea-motion of generated against real listeners, from `motion_sums`; defined in the module's docstring.

    Raises ValueError where either side has fewer than 65 windows (64 axes), or their channels differ.
    """
    if real.total.shape != generated.total.shape:
        raise ValueError("FRRea-motion needs the same channels of real and of generated listeners")
    for name, s in (("real", real), ("generated", generated)):
        if s.n <= AXES:
            raise ValueError(f"FRRea-motion needs {AXES + 1} windows or more, but the {name} listeners have {s.n}")
    scale = np.maximum(np.sqrt(np.maximum(np.diag(real.covariance), 0.0)), LEAST_DEVIATION)
    axes = _axes(len(scale)) / scale[:, None]  # (F, 64)
    gap = (generated.mean - real.mean) @ axes
    return frechet(np.zeros(AXES), axes.T @ real.covariance @ axes, gap, axes.T @ generated.covariance @ axes)


def _axes(numbers: int) -> Doubles:
    """(F, 64) entries +-1/sqrt(F) from bits of PCG64, whose stream NumPy guarantees not to change."""
    bits = np.random.PCG64(AXES).random_raw(numbers * AXES) >> 63
    return (1.0 - 2.0 * bits.astype(np.float64)).reshape(numbers, AXES) / np.sqrt(numbers)
