"""Two seconds of a face as a few numbers: what realism and the two-sample test look at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from react_ros.face import FPS

Doubles = npt.NDArray[np.float64]
AnyFloats = npt.NDArray[np.floating]

WINDOW_S = 2.0
"""Long enough for a smile to come and go and for a nod, short enough for many windows a clip."""
STRIDE_S = 1.0
WAVES = 4
"""Slow movements kept of each channel: half, one, one and a half and two cycles a window (up to 1 Hz)."""
STATISTICS = ("mean", "deviation", "speed", "suddenness", *(f"wave {k}" for k in range(1, WAVES + 1)))
"""Of each channel; all in the unit of the channel itself."""


def windows(channels: AnyFloats, fps: float = FPS) -> Doubles:
    """(T, C) as (W, L, C) overlapping windows of 2 s every 1 s; W is 0 for a clip of less than 2 s."""
    x = np.asarray(channels, np.float64)
    length, stride = round(WINDOW_S * fps), round(STRIDE_S * fps)
    if len(x) < length:
        return np.zeros((0, length, x.shape[1]))
    return np.lib.stride_tricks.sliding_window_view(x, length, axis=0)[::stride].transpose(0, 2, 1)


def window_statistics(channels: AnyFloats, fps: float = FPS) -> Doubles:
    """(T, C) motion to (W, C * 8) numbers: `STATISTICS` of channel 0, then of channel 1, and so on.

    mean and deviation of the window; speed, the root mean square of the change in 1/25 s; suddenness, the cube root of
    the mean cubed change (> 0 where rises are faster than falls: it turns its sign when time runs backwards); waves,
    the amplitudes of the first terms of the cosine transform (DCT-II).
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
