"""Runs a listener node with a system that loads as slowly as a learned one: `python slow_system.py --ros-args …`.

It imports torch, reads a file of weights where one is given, and takes two seconds; every load and every start of a
stream appends a line to the file of the environment variable REACT_ROS_TEST_LOG.
"""

from __future__ import annotations

import importlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from react_ros.face import Reaction, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import Generator, GeneratorInfo, Stream
from react_ros.generators.system import System

LOAD_S = 2.0


@dataclass(frozen=True, slots=True)
class SlowConfig:
    weights: str = ""
    temperature: float = 1.0


def _log(what: str) -> None:
    with Path(os.environ["REACT_ROS_TEST_LOG"]).open("a") as file:
        file.write(what + "\n")


class SlowStream(Stream):
    def __init__(self, inner: Stream) -> None:
        self._inner, self.samples, self.seed = inner, inner.samples, inner.seed

    def step(self, frame: SpeakerFrame) -> Reaction:
        return self._inner.step(frame)


class Slow(Generator):
    Config = SlowConfig
    info = GeneratorInfo("slow", "a system for tests that loads for two seconds", (), learned=True)

    def __init__(self, config: SlowConfig | None = None) -> None:
        _log("load")
        self.config = config or SlowConfig()
        began = time.monotonic()
        importlib.import_module("torch")
        if self.config.weights == "broken":
            raise RuntimeError("a kernel is missing")
        if self.config.weights and not Path(self.config.weights).is_file():
            raise ValueError(f"the weights {self.config.weights!r} are not there: train them or name others")
        time.sleep(max(0.0, LOAD_S - (time.monotonic() - began)))
        self._inner = registry.create("attentive")

    def start(self, *, samples: int = 1, seed: int = 0) -> SlowStream:
        stream = SlowStream(self._inner.start(samples=samples, seed=seed))
        _log("start")
        return stream


if __name__ == "__main__":
    import sys

    sys.modules["slow_system"] = sys.modules["__main__"]
    registry.register(System("slow", SlowConfig, generator="slow_system:Slow"))
    from react_ros.nodes.listener import main

    main()
