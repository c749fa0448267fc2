"""VQ-Diff as a generator: learned, planned in windows of two seconds, drawn from a codebook of reactions."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.generators.contract import GeneratorInfo
from react_ros.generators.latent_generator import Windowed, WindowedConfig


@dataclass(frozen=True, slots=True)
class VqDiffConfig(WindowedConfig):
    """Raises ValueError for a value out of range."""

    weights: str = "vqdiff"
    guidance: float = 1.5
    """As `WindowedConfig.guidance`. The paper does not guide: 1. Chosen on the val split of simulated dyads: FRCorr 2.2
    at 1, 2.6 at 1.5, 2.7 at 2, where listeners are too lively (FRVar 0.045, 0.055, 0.061; people have 0.056)."""
    codebook: bool = True
    """Show the nearest codes of what was drawn; false: what was drawn itself, the paper's "w/o codebook"."""

    def __post_init__(self) -> None:
        WindowedConfig.__post_init__(self)
        if not isinstance(self.codebook, bool):
            raise ValueError(f"codebook is {self.codebook!r}: it must be true or false")


class VqDiff(Windowed):
    """Nguyen et al. 2024: latent diffusion over a vector-quantized autoencoder, conditioned on the speaker's face."""

    Config = VqDiffConfig
    MODEL = "react_ros.systems.vqdiff.model"
    info = GeneratorInfo(
        name="vqdiff",
        summary="learned: plans two seconds at a time by latent diffusion over a codebook of reactions",
        inputs=("attributes",),
        delay_frames=9,
        learned=True,
    )
