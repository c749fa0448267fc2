"""The token listener as a generator: one token a frame, without a delay of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from react_ros.generators.contract import Generator, GeneratorInfo
from react_ros.systems.fsq.config import FsqConfig

if TYPE_CHECKING:
    from react_ros.systems.fsq.streaming import FsqStream


class Fsq(Generator):
    """Dam et al. 2024: finite scalar quantization and a cross-modality transformer, as a stream."""

    Config = FsqConfig
    info = GeneratorInfo(
        name="fsq",
        summary="learned: one token a frame from a causal transformer over face and sound",
        inputs=("blendshapes", "rotation", "translation", "sound"),
        learned=True,
    )

    def __init__(self, config: FsqConfig | None = None) -> None:
        """Raises ValueError, in one sentence, where the weights are missing or invalid."""
        from react_ros.systems.fsq.streaming import Loaded

        self.config = config or FsqConfig()
        self._loaded = Loaded(self.config)
        self.info = replace(type(self).info, notice=self._loaded.notice, weights=self._loaded.sha256)

    @property
    def parameters(self) -> int:
        """Number of parameters that were learned by gradient."""
        return self._loaded.parameters

    def start(self, *, samples: int = 1, seed: int = 0) -> FsqStream:
        return self._loaded.start(samples, seed)
