"""What live listeners and replay share: parameters as text, and the deliberate delay."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import Generic, TypeVar

import numpy as np

from react_ros.config import dump_yaml
from react_ros.face import FPS
from react_ros.generators.contract import Generator
from react_ros.messages.listener_stream import MAX_DELAY_FRAMES

T = TypeVar("T")

MAX_DELAY = MAX_DELAY_FRAMES / FPS
"""Longest deliberate delay, s."""


def parameters_text(generator: Generator) -> str:
    """All parameters of a generator, `liveliness` last, as one line of YAML; `parse_parameters` reads it."""
    parameters = {**asdict(generator.config), "liveliness": generator.liveliness}
    return dump_yaml(parameters, default_flow_style=True, sort_keys=False, width=2**20).strip()


def delay_frames(delay: float, spread: float, seed: int) -> int:
    """The deliberate delay of a stream, in frames, sampled once from its seed.

    delay, spread: mean and standard deviation of the normal distribution, s; clipped to 0 to MAX_DELAY.
    """
    sampled = np.random.default_rng([seed, 0xDE1A]).normal(delay, spread)
    return round(float(np.clip(sampled, 0.0, MAX_DELAY)) * FPS)


class Delay(Generic[T]):
    """Delays a sequence by a number of steps; until then, repeats the first item.

    So a delayed face holds its first pose at the beginning, rather than being missing.
    """

    def __init__(self, frames: int) -> None:
        self._waiting: deque[T] = deque(maxlen=frames + 1)

    def step(self, new: T) -> T:
        """The item of `frames` steps ago."""
        self._waiting.append(new)
        return self._waiting[0]

    def clear(self) -> None:
        """Forget all items."""
        self._waiting.clear()
