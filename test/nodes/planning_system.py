"""Runs a listener node that also knows a chunked system: `python planning_system.py --ros-args …`.

Every chunk takes as long, and fails as often, as the parameters say.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from react_ros.face import Floats
from react_ros.generators import registry
from react_ros.generators.action_chunks import ChunkedStream
from react_ros.generators.chunk_model import REACTION_WIDTH, ChunkModel
from react_ros.generators.chunk_schedule import ChunkSchedule
from react_ros.generators.contract import Generator, GeneratorInfo
from react_ros.generators.noise import LatentNoise, Noise
from react_ros.generators.speaker_inputs import AttributeInputs
from react_ros.generators.system import System


@dataclass(frozen=True, slots=True)
class PlanningConfig:
    seconds: float = 0.0
    """How long a chunk takes, but for the first."""
    fails: bool = False
    """Whether each but the first fails."""


class Slowly(ChunkModel):
    width = 25

    def __init__(self, config: PlanningConfig) -> None:
        self._config, self._begun = config, False

    def inputs(self) -> AttributeInputs:
        return AttributeInputs()

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        return LatentNoise(rngs, window, (1,))

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        if self._begun:
            time.sleep(self._config.seconds)
            if self._config.fails:
                raise RuntimeError("a kernel is missing")
        self._begun = True
        return np.full((len(windows), noise.shape[1], 50, REACTION_WIDTH), 0.1, np.float32)


class PlanningSystem(Generator):
    Config = PlanningConfig
    info = GeneratorInfo("planning", "a chunked system for tests", ("attributes",), learned=True)

    def __init__(self, config: PlanningConfig | None = None) -> None:
        self.config = config or PlanningConfig()
        self._planner = Slowly(self.config)

    def start(self, *, samples: int = 1, seed: int = 0) -> ChunkedStream:
        return ChunkedStream(self._planner, ChunkSchedule(50, 5, 2, 3), samples, seed)


SYSTEM = System("planning", PlanningConfig, generator="planning_system:PlanningSystem")

if __name__ == "__main__":
    import sys

    sys.modules["planning_system"] = sys.modules["__main__"]
    registry.register(SYSTEM)
    from react_ros.nodes.listener import main

    main()
