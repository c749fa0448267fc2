"""A listener's stream as it is announced, delayed and begun again: the same live and in replay."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import Any, Generic, TypeVar

import numpy as np
import yaml

from react_ros.face import FPS
from react_ros.generators.contract import Generator

T = TypeVar("T")

MAX_DELAY = 5.0
"""The longest deliberate delay, s."""


def parameters_text(generator: Generator) -> str:
    """All of a generator's parameters, as YAML in one line; `parameters_from` reads it again."""
    return yaml.safe_dump(asdict(generator.config), default_flow_style=True, sort_keys=False, width=2**20).strip()


def parameters_from(text: str) -> dict[str, Any]:
    """Of a text of `parameters_text`, or written by hand. Raises ValueError where it is no mapping."""
    try:
        parameters = yaml.safe_load(text) if text.strip() else {}
    except yaml.YAMLError:
        parameters = None
    if not isinstance(parameters, dict):
        raise ValueError(f"generator_parameters must be a YAML mapping like {{expressiveness: 0.8}}, not {text!r}")
    return parameters


def delay_frames(delay: float, spread: float, seed: int) -> int:
    """The deliberate delay of a stream, drawn once from its seed: normal, s; at most MAX_DELAY."""
    drawn = np.random.default_rng([seed, 0xDE1A]).normal(delay, spread)
    return round(float(np.clip(drawn, 0.0, MAX_DELAY)) * FPS)


class Delay(Generic[T]):
    """Gives each thing back so many steps later.

    Until the delay has passed once, the first thing stands still: a face at its beginning, not none at all.
    """

    def __init__(self, frames: int) -> None:
        self._waiting: deque[T] = deque(maxlen=frames + 1)

    def step(self, new: T) -> T:
        self._waiting.append(new)
        return self._waiting[0]

    def clear(self) -> None:
        """Begin anew."""
        self._waiting.clear()
