"""What a chunked system supplies: its inputs, its noise, and one chunk of reactions for a window of the speaker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from react_ros.face import ATTRIBUTES, FACE_MODEL, Floats, SpeakerFrame
from react_ros.generators.contract import sample_rngs
from react_ros.generators.noise import Noise
from react_ros.nn.device import one_thread

ANSWER = FACE_MODEL + ATTRIBUTES
"""Width of a chunk's rows: the 58 of the face model, then the 25 attributes."""


class Inputs(Protocol):
    """What a listener is told of the speaker, one object a stream."""

    def step(self, frame: SpeakerFrame) -> Floats:
        """(D,) float32 row of the next frame."""
        ...


class ChunkModel(ABC):
    """A windowed system's networks, shared by all its streams and changed by none."""

    width: int
    """D, of a row of the speaker."""
    idle_eyes_and_head: bool = False
    """Whether its answers know neither of blinks and gaze nor of the head: idle life then lends its own."""

    @abstractmethod
    def inputs(self) -> Inputs:
        """Begin to turn a stream's speaker frames into rows."""

    @abstractmethod
    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        """Begin a stream's noise, one listener a generator: a `FieldNoise` or a `LatentNoise`."""

    @abstractmethod
    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        """(P, S, W, 83) answers to P windows (P, W, D) with the noise (P, S, …) of S listeners; all float32.

        Rows are the 58 of the face model, then the 25 attributes within their ranges. Called in inference mode on one
        CPU thread, and from several threads at once: it must not change the chunk_model.
        """

    def finish(self, shown: Floats) -> Floats:
        """What is shown (…, 83) of chunks that have been blended: for action units that are to stay 0 or 1.

        It must not change its argument.
        """
        return shown


def make_chunks(chunk_model: ChunkModel, windows: Floats, noise: Floats) -> Floats:
    """(P, S, W, 83): `ChunkModel.chunk` as it is always called."""
    with torch.inference_mode(), one_thread():
        return chunk_model.chunk(windows, noise)


def repeatable_chunk(chunk_model: ChunkModel, window: int, samples: int) -> Callable[[], object]:
    """What makes the same chunk of that many listeners each time it is called, for those who time it."""
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((1, window, chunk_model.width), np.float32)
    noise = chunk_model.noise(listener_rngs(0, samples), window).draw(0)[None]
    return lambda: make_chunks(chunk_model, windows, noise)


def listener_rngs(seed: int, samples: int) -> list[np.random.Generator]:
    return sample_rngs(seed, samples, purpose=6)
