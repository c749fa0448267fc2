"""Mixes the channels of films and sound files: one and two are kept, more become one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]

_SURROUND = {"FL": 0.5, "FR": 0.5, "FC": 0.7071, "LFE": 0.0, "LFE2": 0.0}
_OTHER = 0.3536
"""Weights of the mono downmix of ITU-R BS.775-4, annex 4, table 2."""
_SILENT = 10 ** (-50 / 20)
"""A channel whose mean square is below that of the loudest one by more than 50 dB carries no sound."""


def channel_weights(names: Sequence[str], power: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(channels,) weights that sum to 1 for mixing more than two channels to one.

    names: FFmpeg's, e.g. FL, FR, FC, LFE, BL, BR. power: (channels,) mean square of each over the whole recording.
    Only channels that carry sound count. Where one is a centre channel, they are those of a surround downmix; else (the
    channels of a microphone array) equal.
    """
    surround = "FC" in names
    weights = np.array([_SURROUND.get(name, _OTHER) if surround else 1.0 for name in names])
    weights *= power > power.max(initial=0.0) * _SILENT**2
    if not weights.any():
        weights[:] = 1.0
    return (weights / weights.sum()).astype(np.float32)


def mean_squares(parts: Iterable[Pcm], channels: int) -> npt.NDArray[np.float64]:
    """(channels,) mean square of each channel over all (n, channels) parts."""
    total, count = np.zeros(channels), 0
    for part in parts:
        total += np.square(part, dtype=np.float64).sum(0)
        count += len(part)
    return total / max(count, 1)


def mixed(pcm: Pcm, weights: npt.NDArray[np.float32]) -> Pcm:
    """(n, channels) mixed to (n, 1)."""
    return np.rint(pcm @ weights).clip(-32768, 32767).astype(np.int16)[:, None]
