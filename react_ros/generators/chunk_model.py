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
"""Width of a plan's rows: the 58 of the face model, then the 25 attributes."""


class Inputs(Protocol):
    """What a listener is told of the speaker, one object a stream."""

    def step(self, frame: SpeakerFrame) -> Floats:
        """(D,) float32 row of the next frame."""
        ...


class Planner(ABC):
    """A windowed system's networks, shared by all its streams and changed by none."""

    width: int
    """D, of a row of the speaker."""
    eyeless: bool = False
    """Whether its answers know neither of blinks and gaze nor of the head: idle life then lends its own."""

    @abstractmethod
    def inputs(self) -> Inputs:
        """Begin to turn a stream's speaker frames into rows."""

    @abstractmethod
    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        """Begin a stream's noise, one listener a generator: a `FieldNoise` or a `LatentNoise`."""

    @abstractmethod
    def plan(self, windows: Floats, noise: Floats) -> Floats:
        """(P, S, W, 83) answers to P windows (P, W, D) with the noise (P, S, …) of S listeners; all float32.

        Rows are the 58 of the face model, then the 25 attributes within their ranges. Called in inference mode on one
        CPU thread, and from several threads at once: it must not change the planner.
        """

    def finish(self, shown: Floats) -> Floats:
        """What is shown (…, 83) of plans that have been blended: for action units that are to stay 0 or 1.

        It must not change its argument.
        """
        return shown


def make_plans(planner: Planner, windows: Floats, noise: Floats) -> Floats:
    """(P, S, W, 83): `Planner.plan` as it is always called."""
    with torch.inference_mode(), one_thread():
        return planner.plan(windows, noise)


def one_plan(planner: Planner, window: int, samples: int) -> Callable[[], object]:
    """What makes the same plan of that many listeners each time it is called, for those who time it."""
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((1, window, planner.width), np.float32)
    noise = planner.noise(_rngs(0, samples), window).draw(0)[None]
    return lambda: make_plans(planner, windows, noise)


def _rngs(seed: int, samples: int) -> list[np.random.Generator]:
    return sample_rngs(seed, samples, purpose=6)
