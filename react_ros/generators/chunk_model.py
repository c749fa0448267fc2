"""What a chunked system supplies: its inputs, its noise, and an action chunk of reactions for a speaker's window."""

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

REACTION_WIDTH = FACE_MODEL + ATTRIBUTES
"""Columns of an action chunk: the 58 of the face model, then the 25 attributes."""


class Inputs(Protocol):
    """Turns the speaker frames of one stream into rows of numbers."""

    def step(self, frame: SpeakerFrame) -> Floats:
        """(D,) float32 row of the next frame."""
        ...


class ChunkModel(ABC):
    """The networks of a chunked system, shared by all its streams and changed by none."""

    width: int
    """D, the width of a row of the speaker."""
    idle_eyes_and_head: bool = False
    """Whether its reactions have neither blinks, gaze nor head motion, so that those of idle life are added."""
    inertial: bool = False
    """Whether head and eyes pass from chunk to chunk by inertial transitions, see `ChunkPlayer`."""

    @abstractmethod
    def inputs(self) -> Inputs:
        """New inputs of a stream."""

    @abstractmethod
    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        """New noise of a stream, a `FieldNoise` or a `LatentNoise`. rngs: one for each listener."""

    @abstractmethod
    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        """(P, S, W, 83) reactions to P windows (P, W, D) with the noise (P, S, …) of S listeners; all float32.

        Columns are the 58 of the face model, then the 25 attributes within their ranges. Called in inference mode on
        one CPU thread, and from several threads at once: it must not change the model.
        """

    def finish(self, shown: Floats) -> Floats:
        """Postprocess rows (…, 83) after the crossfade, e.g. to keep action units 0 or 1; returns a new array."""
        return shown


def make_chunks(chunk_model: ChunkModel, windows: Floats, noise: Floats) -> Floats:
    """(P, S, W, 83): `ChunkModel.chunk` in inference mode, on one thread."""
    with torch.inference_mode(), one_thread():
        return chunk_model.chunk(windows, noise)


def repeatable_chunk(chunk_model: ChunkModel, window: int, samples: int) -> Callable[[], object]:
    """A function that computes the same action chunk at each call, for benchmarks."""
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((1, window, chunk_model.width), np.float32)
    noise = chunk_model.noise(chunk_rngs(0, samples), window).at(0)[None]
    return lambda: make_chunks(chunk_model, windows, noise)


def chunk_rngs(seed: int, samples: int) -> list[np.random.Generator]:
    """The random generators of a stream's noise, one for each listener."""
    return sample_rngs(seed, samples, purpose=6)
