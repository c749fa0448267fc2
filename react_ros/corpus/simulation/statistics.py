"""Statistics of real people before a camera, from which simulated people are drawn (real_speakers.json).

They are what this project's own perception reported of 21 short clips of about 20 adults: a small sample, to be used
for ranges and shapes of distributions. The file holds no picture, no sound and nobody's track.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from react_ros.corpus.simulation.motion import Doubles
from react_ros.face import ARKIT

_FILE = Path(__file__).with_name("real_speakers.json")
_QUANTILES = np.array([-1.645, 0.0, 1.645])
"""Standard normal values of the 5th, 50th and 95th percentile."""
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class RealPeople:
    """Channels are the 52 blendshapes in the order of `ARKIT`, rotation (rad), translation (m)."""

    rest: Doubles
    """(58, 3) 5th, 50th, 95th percentile over people of a person's 20th percentile."""
    spread: Doubles
    """(58, 3) the same of a person's standard deviation."""
    pooled: Doubles
    """(58, 7) 1st, 5th, 25th, 50th, 75th, 95th and 99th percentile over all frames of all people."""
    correlation: Doubles
    """(58, 58) within a person."""
    smiling: Doubles
    """(52,) mean of broad smiles minus mean of faces that do not smile."""


@cache
def real_people() -> RealPeople:
    """The shipped statistics. Arrays are read-only."""
    stored: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    channels = list(stored["channels"].values())
    if list(stored["channels"])[: len(ARKIT)] != list(ARKIT):
        raise ValueError(f"{_FILE.name}: the channels are not in the order of ARKit's names")

    def table(name: str) -> Doubles:
        return np.array([channel[name] for channel in channels])

    given = stored["given_smile"]
    smiling, neutral = (np.array([given[k]["mean"][name] for name in ARKIT]) for k in ("0.85-1", "0-0.1"))
    people = RealPeople(
        table("rest_of_a_person_20th_percentile__5_50_95_over_persons"),
        table("within_person_std__5_50_95"),
        table("pooled_percentiles_1_5_25_50_75_95_99"),
        np.array(stored["within_person_correlation_58x58_order_of_channels"]),
        smiling - neutral,
    )
    for array in (people.rest, people.spread, people.pooled, people.correlation, people.smiling):
        array.setflags(write=False)
    return people


def positive_quantile(z: Doubles, percentiles: Doubles) -> Doubles:
    """(n,) values of people whose standard normal scores are z (n,), of quantities that are not negative.

    percentiles: (n, 3) 5th, 50th, 95th; interpolated linearly in the logarithm, and flat beyond 1.5 times the range.
    """
    logs = np.log(percentiles + _FLOOR)
    z = np.clip(z, -2.2, 2.2)
    low = logs[:, 1] + (logs[:, 1] - logs[:, 0]) * z / 1.645
    high = logs[:, 1] + (logs[:, 2] - logs[:, 1]) * z / 1.645
    return np.maximum(np.exp(np.where(z < 0.0, low, high)) - _FLOOR, 0.0)


def signed_quantile(z: Doubles, percentiles: Doubles) -> Doubles:
    """The same of quantities of either sign, interpolated linearly."""
    z = np.clip(z, -2.2, 2.2)
    low = percentiles[:, 1] + (percentiles[:, 1] - percentiles[:, 0]) * z / 1.645
    high = percentiles[:, 1] + (percentiles[:, 2] - percentiles[:, 1]) * z / 1.645
    return np.where(z < 0.0, low, high)


def paired_scores(rng: np.random.Generator, alike: float) -> Doubles:
    """(52,) standard normal scores; those of a left and right shape correlate by `alike`."""
    own, common = rng.standard_normal(len(ARKIT)), {}
    out = np.empty(len(ARKIT))
    for i, name in enumerate(ARKIT):
        pair = name.removesuffix("Left").removesuffix("Right")
        common.setdefault(pair, rng.standard_normal())
        out[i] = np.sqrt(alike) * common[pair] + np.sqrt(1.0 - alike) * own[i]
    return out
