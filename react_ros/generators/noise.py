"""The noise of action chunks: chunks that overlap in time share it accordingly, so that the face does not jump."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from react_ros.face import Floats


class Noise(ABC):
    """The noise of one stream's action chunks."""

    @abstractmethod
    def at(self, position: int) -> Floats:
        """(S, …) float32, standard normal, for the chunk whose first frame is `position`.

        The first position is 0; each of the next is at most a window after the one before.
        """


class FieldNoise(Noise):
    """For latents with a time axis: a window of one field of white noise over the stream's frames.

    Where two chunks overlap, the same frame has the same noise. With `lasting` all chunks also have the same mean over
    their frames: each chunk's noise is still white, but a listener keeps its character.
    """

    def __init__(
        self, rngs: Sequence[np.random.Generator], window: int, shape: Sequence[int], *, lasting: bool = False
    ) -> None:
        """rngs: one for each listener. shape: of one frame's noise; `at` returns (S, window, *shape)."""
        self._rngs = rngs
        self._field = np.zeros((len(rngs), window, *shape), np.float32)
        self._mean: Floats | None = None
        if lasting:
            own = [rng.standard_normal((1, *shape), np.float32) for rng in rngs]
            self._mean = np.stack(own) / np.float32(math.sqrt(window))
        self._end = 0
        """The first frame that has no noise yet."""

    def at(self, position: int) -> Floats:
        window = self._field.shape[1]
        new = position + window - self._end
        for i, rng in enumerate(self._rngs):
            fresh = rng.standard_normal((new, *self._field.shape[2:]), np.float32)
            self._field[i] = np.concatenate([self._field[i, new:], fresh])
        self._end = position + window
        if self._mean is None:
            return self._field.copy()
        return self._field - self._field.mean(axis=1, keepdims=True) + self._mean


class SegmentNoise(Noise):
    """For one latent vector a window that consists of equal parts, one for each segment of its frames.

    A `FieldNoise` over the stream's segments: where two chunks overlap by whole segments, the same segment has the same
    noise.
    """

    def __init__(
        self, rngs: Sequence[np.random.Generator], window: int, segments: int, draws: int, latent: int
    ) -> None:
        """rngs: one for each listener. draws: number of noise vectors of a chunk; `at` returns (S, draws, latent)."""
        self._frames = window // segments
        self._field = FieldNoise(rngs, segments, (draws, latent // segments), lasting=True)

    def at(self, position: int) -> Floats:
        parts = self._field.at(position // self._frames)  # (S, segments, draws, share)
        return parts.swapaxes(1, 2).reshape(*parts.shape[0:1], parts.shape[2], -1)


class LatentNoise(Noise):
    """For one latent vector a window: a stationary first-order autoregressive process over the stream's frames.

    Two chunks whose first frames are d frames apart correlate by exp(-d / window); those that do not overlap are
    independent.
    """

    def __init__(self, rngs: Sequence[np.random.Generator], window: int, shape: Sequence[int]) -> None:
        """rngs: one for each listener. shape: of one chunk's noise; `at` returns (S, *shape)."""
        self._rngs, self._window = rngs, window
        self._last = np.zeros((len(rngs), *shape), np.float32)
        self._position: int | None = None

    def at(self, position: int) -> Floats:
        apart = self._window if self._position is None else position - self._position
        kept = math.exp(-apart / self._window) if apart < self._window else 0.0
        fresh = np.stack([rng.standard_normal(self._last.shape[1:], np.float32) for rng in self._rngs])
        self._last = (kept * self._last + math.sqrt(1.0 - kept * kept) * fresh).astype(np.float32)
        self._position = position
        return self._last.copy()
