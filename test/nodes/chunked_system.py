"""Runs a listener node with a chunked system for tests: `python chunked_system.py --ros-args …`.

The parameters set how long every action chunk takes, and whether it fails.
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
class ChunkedConfig:
    seconds: float = 0.0
    """Duration of every action chunk except the first."""
    fails: bool = False
    """Whether every action chunk except the first fails."""


class SlowChunks(ChunkModel):
    width = 25

    def __init__(self, config: ChunkedConfig) -> None:
        self._config, self._first_done = config, False

    def inputs(self) -> AttributeInputs:
        return AttributeInputs()

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        return LatentNoise(rngs, window, (1,))

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        if self._first_done:
            time.sleep(self._config.seconds)
            if self._config.fails:
                raise RuntimeError("a kernel is missing")
        self._first_done = True
        return np.full((len(windows), noise.shape[1], 50, REACTION_WIDTH), 0.1, np.float32)


class ChunkedGenerator(Generator):
    Config = ChunkedConfig
    info = GeneratorInfo("planning", "a chunked system for tests", ("attributes",), learned=True)

    def __init__(self, config: ChunkedConfig | None = None) -> None:
        self.config = config or ChunkedConfig()
        self._model = SlowChunks(self.config)

    def start(self, *, samples: int = 1, seed: int = 0) -> ChunkedStream:
        return ChunkedStream(self._model, ChunkSchedule(50, 5, 2, 3), samples, seed)


SYSTEM = System("planning", ChunkedConfig, generator="chunked_system:ChunkedGenerator")

if __name__ == "__main__":
    import sys

    sys.modules["chunked_system"] = sys.modules["__main__"]
    registry.register(SYSTEM)
    from react_ros.nodes.listener import main

    main()
