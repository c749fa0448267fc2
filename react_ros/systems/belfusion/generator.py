"""BeLFusion as a generator: action chunks of two seconds, the baseline of the diffusion papers."""

from __future__ import annotations

from react_ros.generators.chunked import ChunkedGenerator, LoadedChunks
from react_ros.generators.contract import GeneratorInfo
from react_ros.systems.belfusion.config import BelfusionConfig


class Belfusion(ChunkedGenerator):
    """Barquero et al. 2023, as in the REACT challenges: latent diffusion over a variational autoencoder."""

    Config = BelfusionConfig
    config: BelfusionConfig
    info = GeneratorInfo(
        name="belfusion",
        summary="learned: action chunks of two seconds by latent diffusion, the challenges' baseline",
        inputs=("attributes",),
        delay_frames=9,
        learned=True,
    )

    def load(self) -> LoadedChunks:
        from react_ros.generators.latent_chunks import load_latents
        from react_ros.systems.belfusion.model import ModelConfig, networks

        return load_latents(self.config, "belfusion", ModelConfig, networks)
