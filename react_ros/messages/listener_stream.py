"""ListenerStream messages: the settings with which a listener's stream was started, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from react_ros.config import excerpt, parse_yaml
from react_ros.messages.features import MAX_SAMPLES
from react_ros.messages.stamps import nanoseconds

MAX_DELAY_FRAMES = 125
"""Longest deliberate delay of a stream, frames of 40 ms."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """A listener, and how its stream was started."""

    generator: str
    """Name of the system."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Of the generator."""
    seed: int = 0
    samples: int = 1
    """Number of sampled listeners."""
    delay: int = 0
    """Deliberate delay, frames."""
    first_frame: int = 0
    """Index of the first speaker frame that the stream answers."""
    weights: str = ""
    """SHA-256 of the generator's weights; empty: it has none, or they are unknown."""
    stamp_ns: int = 0
    """Stamp of the first frame, ns since the epoch."""
    code: str = ""
    """Version of react_ros that ran it; empty: unknown."""


LONGEST_PARAMETERS = 20_000
"""Characters of a generator's parameters, at most."""


def parse_parameters(text: str, name: str = "generator_parameters") -> dict[str, Any]:
    """A generator's parameters written as YAML, from anybody. name: of the text, for errors.

    Raises ValueError, in one sentence, where it is not a mapping.
    """
    reason = ""
    try:
        parameters = parse_yaml(text, longest=LONGEST_PARAMETERS) if text.strip() else {}
    except yaml.YAMLError as error:
        parameters, reason = None, f" ({excerpt(str(error), 160)})"
    if not isinstance(parameters, dict):
        raise ValueError(f"{name} must be a YAML mapping like {{expressiveness: 0.8}}, not {text[:80]!r}{reason}")
    return parameters


def settings_from_message(m: Any) -> ListenerSettings:
    """The settings in a react_ros/ListenerStream. Raises ValueError for values out of range."""
    if not 1 <= m.samples <= MAX_SAMPLES or m.delay > MAX_DELAY_FRAMES or m.seed < 0:
        raise ValueError(f"no listener has {m.samples} samples, seed {m.seed} and a delay of {m.delay} frames")
    return ListenerSettings(
        m.generator, parse_parameters(m.parameters, "parameters"), int(m.seed), int(m.samples), int(m.delay),
        int(m.first_frame), m.weights,
        nanoseconds(m.header.stamp), getattr(m, "code", ""),
    )  # fmt: skip
