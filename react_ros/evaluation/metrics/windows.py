"""Statistics of windows of 2 s of motion: the features of FRRea-motion and the two-sample test."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from react_ros.face import FPS

Doubles = npt.NDArray[np.float64]
AnyFloats = npt.NDArray[np.floating]

WINDOW_S = 2.0
"""Window length, s: long enough for a nod or a short smile, short enough for many windows per clip."""
HOP_S = 1.0
WAVES = 4
"""Cosine coefficients per channel: 0.5, 1, 1.5 and 2 cycles per window (up to 1 Hz)."""
STATISTICS = ("mean", "deviation", "speed", "skewness of change", *(f"wave {k}" for k in range(1, WAVES + 1)))
"""Per channel; all in the unit of the channel."""


def windows(channels: AnyFloats, fps: float = FPS) -> Doubles:
    """Overlapping windows (W, L, C) of (T, C): 2 s every 1 s; W is 0 for a clip of less than 2 s."""
    x = np.asarray(channels, np.float64)
    length, hop = round(WINDOW_S * fps), round(HOP_S * fps)
    if len(x) < length:
        return np.zeros((0, length, x.shape[1]))
    return np.lib.stride_tricks.sliding_window_view(x, length, axis=0)[::hop].transpose(0, 2, 1)


def window_statistics(channels: AnyFloats, fps: float = FPS) -> Doubles:
    """(W, C * 8) statistics of motion (T, C): `STATISTICS` of channel 0, then of channel 1, and so on.

    Mean and standard deviation over the window; speed, the root mean square of the change per 1/25 s; skewness of
    change, the cube root of the mean cubed change (> 0 where rises are faster than falls; its sign flips when the
    motion is played backwards); waves, the first coefficients of the cosine transform (DCT-II).
    """
    w = windows(channels, fps)
    count, length, width = w.shape
    change = np.diff(w, axis=1) * (fps / FPS)
    k = np.arange(1, WAVES + 1)[:, None]
    basis = np.sqrt(2.0) / length * np.cos(np.pi * k * (np.arange(length) + 0.5) / length)  # (4, L)
    parts = [
        w.mean(axis=1),
        w.std(axis=1),
        np.sqrt((change**2).mean(axis=1)),
        np.cbrt((change**3).mean(axis=1)),
        *np.einsum("kl,wlc->kwc", basis, w),
    ]
    return np.stack(parts, axis=2).reshape(count, width * len(STATISTICS))  # (W, C, 8)
