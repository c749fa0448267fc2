"""VQ-Diff as a generator: action chunks of two seconds, sampled from a codebook of reactions."""

from __future__ import annotations

from react_ros.generators.chunked import ChunkedGenerator, LoadedChunks
from react_ros.generators.contract import GeneratorInfo
from react_ros.systems.vqdiff.config import VqDiffConfig


class VqDiff(ChunkedGenerator):
    """Nguyen et al. 2024: latent diffusion over a vector-quantized autoencoder, conditioned on the speaker's face."""

    Config = VqDiffConfig
    config: VqDiffConfig
    info = GeneratorInfo(
        name="vqdiff",
        summary="learned: action chunks of two seconds by latent diffusion over a codebook of reactions",
        inputs=("attributes",),
        delay_frames=9,
        learned=True,
    )

    def load(self) -> LoadedChunks:
        from react_ros.generators.latent_chunks import load_latents
        from react_ros.systems.vqdiff.model import ModelConfig, networks

        return load_latents(self.config, "vqdiff", ModelConfig, networks, quantize=self.config.codebook)
