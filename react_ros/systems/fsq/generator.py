"""The token listener as a generator: learned, streaming, one token a frame and no delay of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from react_ros.generators.contract import Generator, GeneratorInfo

if TYPE_CHECKING:
    from react_ros.systems.fsq.streaming import FsqStream
from react_ros.systems.fsq.config import FsqConfig


class Fsq(Generator):
    """Dam et al. 2024: finite scalar quantization and a cross-modality transformer, made live."""

    Config = FsqConfig
    info = GeneratorInfo(
        name="fsq",
        summary="learned: one token a frame from a causal transformer over face and sound",
        inputs=("blendshapes", "rotation", "translation", "sound"),
        learned=True,
    )

    def __init__(self, config: FsqConfig | None = None) -> None:
        """Raises ValueError, in one sentence, where the weights are not there, or are not what they should be."""
        from react_ros.systems.fsq.streaming import Loaded

        self.config = config or FsqConfig()
        self._loaded = Loaded(self.config)
        self.info = replace(type(self).info, notice=self._loaded.notice, weights=self._loaded.sha256)

    @property
    def parameters(self) -> int:
        """How many numbers were learned by gradient."""
        return self._loaded.parameters

    def start(self, *, samples: int = 1, seed: int = 0) -> FsqStream:
        return self._loaded.start(samples, seed)
