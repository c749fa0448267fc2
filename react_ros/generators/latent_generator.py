"""What VQ-Diff and BeLFusion are as generators: the same parameters, the same protocols, other networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from react_ros.config import DEVICES, in_range, whole_in_range
from react_ros.face import Reaction, SpeakerFrame
from react_ros.generators.contract import Generator

if TYPE_CHECKING:
    from react_ros.generators.action_chunks import PlannedStream
    from react_ros.generators.latent_chunks import LoadedLatents

PROTOCOLS = ("live", "window")


@dataclass(frozen=True, slots=True)
class WindowedConfig:
    """Raises ValueError for a value out of range."""

    weights: str
    """Name in models/, or a path."""
    protocol: Literal["live", "window"] = "live"
    """live: plans every 0.2 s, each blended into the one before; window: the papers', a plan every two seconds."""
    temperature: float = 1.0
    """How far listeners differ: the noise from which a plan is drawn is multiplied by it."""
    steps: int | None = None
    """Denoising steps of a plan; None: as many as the weights have levels of noise."""
    eta: float = 0.0
    """How much noise is renewed in each step (DDIM, Song et al. 2021): 0 none, 1 as in DDPM."""
    guidance: float = 1.0
    """How much more the speaker counts than in training (Ho and Salimans 2022); exaggerates above 1."""
    binarize: bool = False
    """Action units as occurrences, 0 or 1: the papers' "+ Binarized AUs"."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.weights, str) or not self.weights:
            raise ValueError(f"weights are {self.weights!r}: they must be a name in models/ or a path")
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {self.protocol!r}: it must be {' or '.join(PROTOCOLS)}")
        in_range("temperature", self.temperature, 0.0, 10.0)
        if self.steps is not None:
            whole_in_range("steps", self.steps, 1, 1000)
        in_range("eta", self.eta, 0.0, 1.0)
        in_range("guidance", self.guidance, 0.0, 10.0)
        if not isinstance(self.binarize, bool):
            raise ValueError(f"binarize is {self.binarize!r}: it must be true or false")
        if self.device not in DEVICES:
            raise ValueError(f"device is {self.device!r}: it must be one of {', '.join(DEVICES)}")


class Windowed(Generator):
    """A listener that plans windows: online from the speaker's window before, offline from the same one.

    Weights are trained for one of both. Those of the online protocol answer `generate_offline` as they answer online;
    those of the offline protocol need the future, and cannot be streamed.
    """

    Config: ClassVar[type[Any]]
    MODEL: ClassVar[str]
    """The module with the system's `ModelConfig` and `networks`."""

    def __init__(self, config: Any = None) -> None:
        """Raises ValueError, in one sentence, where the weights are not there, or are not what they should be."""
        self.config = config or self.Config()
        self._loaded = self._load()
        from react_ros.generators.latent_chunks import planning

        self._planning = planning(self.config.protocol, self._loaded.frames)
        self.info = replace(
            type(self).info, notice=self._loaded.notice, weights=self._loaded.sha256,
            delay_frames=round(self._planning.delay), stochastic=self.config.temperature > 0.0,
        )  # fmt: skip

    def _load(self) -> LoadedLatents:
        from react_ros.generators.latent_chunks import load_latents

        model = import_module(self.MODEL)
        codebook = getattr(self.config, "codebook", False)
        return load_latents(self.config, type(self).info.name, model.ModelConfig, model.networks, codebook)

    @property
    def parameters(self) -> int:
        """How many numbers were learned by gradient."""
        return self._loaded.parameters

    def rehearse(self, samples: int) -> Callable[[], object]:
        from react_ros.generators.chunk_model import one_plan

        return one_plan(self._loaded.planner, self._loaded.frames, samples)

    def start(self, *, samples: int = 1, seed: int = 0) -> PlannedStream:
        """Begin a stream. Raises ValueError for samples < 1, seed < 0, or weights of the offline protocol."""
        from react_ros.generators.action_chunks import PlannedStream

        self._expect_online()
        return PlannedStream(self._loaded.planner, self._planning, samples, seed)

    def generate(self, frames: Iterable[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        from react_ros.generators import chunk_batch as plans

        self._expect_online()
        return plans.generate(self._loaded.planner, self._planning, frames, samples=samples, seed=seed)

    def generate_offline(self, frames: Sequence[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        """The papers' offline protocol where the weights are trained for it; else the online one."""
        from react_ros.generators import chunk_batch as plans

        if self._loaded.protocol == "online":
            return self.generate(frames, samples=samples, seed=seed)
        return plans.generate_offline(self._loaded.planner, self._loaded.frames, frames, samples=samples, seed=seed)

    def _expect_online(self) -> None:
        if self._loaded.protocol != "online":
            raise ValueError(
                f"the weights {self.config.weights!r} are of the offline protocol, which needs the speaker's future: "
                "give weights that were trained with protocol online"
            )
