"""BeLFusion as a generator: learned, planned in windows of two seconds, the baseline of the diffusion papers."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.generators.contract import GeneratorInfo
from react_ros.generators.latent_generator import Windowed, WindowedConfig


@dataclass(frozen=True, slots=True)
class BelfusionConfig(WindowedConfig):
    """Raises ValueError for a value out of range."""

    weights: str = "belfusion"
    """`belfusion` learned from the nearest of k = 10 guesses, `belfusion-k1` from one."""
    guidance: float = 2.0
    """As `WindowedConfig.guidance`. The challenges do not guide: 1. Chosen on the val split of simulated dyads: FRCorr
    1.9 at 1, 2.2 at 1.5, 2.4 at 2, where FRVar is that of people, 0.056."""


class Belfusion(Windowed):
    """Barquero et al. 2023, as the REACT challenges have it: latent diffusion over a variational autoencoder."""

    Config = BelfusionConfig
    MODEL = "react_ros.systems.belfusion.model"
    info = GeneratorInfo(
        name="belfusion",
        summary="learned: plans two seconds at a time by latent diffusion, the challenges' baseline",
        inputs=("attributes",),
        delay_frames=9,
        learned=True,
    )
