"""The noise of overlapping action chunks: chunks that overlap share it as far as they overlap."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from react_ros.face import Floats


class Noise(ABC):
    """The chance in a stream's plans. Plans that overlap share it as far as they do, else the face would jump."""

    @abstractmethod
    def draw(self, position: int) -> Floats:
        """(S, …) float32, standard normal, for the plan whose first frame is `position`.

        The first position is 0; each of the next lies at most a window after the one before.
        """


class FieldNoise(Noise):
    """For latents with a time axis: a window on one field of white noise over a stream's frames.

    Wherever two plans overlap, the same frame has the same noise. With `lasting` all plans have the same mean over
    their frames besides, which is as likely as any: each is white noise still, but a listener keeps its character.
    """

    def __init__(
        self, rngs: Sequence[np.random.Generator], window: int, shape: Sequence[int], *, lasting: bool = False
    ) -> None:
        """rngs: one a listener. shape: of one frame's noise; draws are (S, window, *shape)."""
        self.listener_rngs = rngs
        self._field = np.zeros((len(rngs), window, *shape), np.float32)
        self._mean: Floats | None = None
        if lasting:
            own = [rng.standard_normal((1, *shape), np.float32) for rng in rngs]
            self._mean = np.stack(own) / np.float32(math.sqrt(window))
        self._end = 0
        """The first frame that has no noise yet."""

    def draw(self, position: int) -> Floats:
        window = self._field.shape[1]
        new = position + window - self._end
        for i, rng in enumerate(self.listener_rngs):
            fresh = rng.standard_normal((new, *self._field.shape[2:]), np.float32)
            self._field[i] = np.concatenate([self._field[i, new:], fresh])
        self._end = position + window
        if self._mean is None:
            return self._field.copy()
        return self._field - self._field.mean(axis=1, keepdims=True) + self._mean


class LatentNoise(Noise):
    """For one latent vector a window: a stationary first-order autoregressive process over a stream's frames.

    Two plans that begin d frames apart correlate by exp(-d / window), and not at all where they do not overlap.
    """

    def __init__(self, rngs: Sequence[np.random.Generator], window: int, shape: Sequence[int]) -> None:
        """rngs: one a listener. shape: of one plan's noise; draws are (S, *shape)."""
        self.listener_rngs, self._window = rngs, window
        self._last = np.zeros((len(rngs), *shape), np.float32)
        self._at: int | None = None

    def draw(self, position: int) -> Floats:
        apart = self._window if self._at is None else position - self._at
        kept = math.exp(-apart / self._window) if apart < self._window else 0.0
        fresh = np.stack([rng.standard_normal(self._last.shape[1:], np.float32) for rng in self.listener_rngs])
        self._last = (kept * self._last + math.sqrt(1.0 - kept * kept) * fresh).astype(np.float32)
        self._at = position
        return self._last.copy()
