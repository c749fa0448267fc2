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


GAP_NS = 500_000_000
"""Frames further apart than this, or that go back in time, are not of one conversation: perception was restarted."""


class Delay(Generic[T]):
    """Delays a sequence by a number of steps; until then, repeats the first item.

    So a delayed face holds its first pose at the beginning, rather than being missing. After a gap the sequence begins
    anew: what was delayed before it would be shown as if it answered what is seen after it.
    """

    def __init__(self, frames: int) -> None:
        self._waiting: deque[T] = deque(maxlen=frames + 1)
        self._stamp_ns: int | None = None

    def step(self, new: T, stamp_ns: int) -> T:
        """The item of `frames` steps ago. stamp_ns: of the frame that the new item answers."""
        if self._stamp_ns is not None and not 0 <= stamp_ns - self._stamp_ns <= GAP_NS:
            self._waiting.clear()
        self._stamp_ns = stamp_ns
        self._waiting.append(new)
        return self._waiting[0]

    def clear(self) -> None:
        """Forget all items."""
        self._waiting.clear()
