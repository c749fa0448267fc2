"""The networks of VQ-Diff: a vector-quantized autoencoder of windows, and a diffusion of its latents.

After Nguyen et al., "Vector Quantized Diffusion Models for Multiple Appropriate Reactions Generation" (FG 2024):
windows of 50 frames, two LSTM layers in encoder and decoder, D = 128, K = 200, beta = 0.25, ten denoising steps.

What the paper leaves open. Whether z_e is one vector for each window or each frame: the denoiser of the public code, a
perceptron of 128 inputs, takes one for each window, and so does ours. One of 200 codes is then 7.6 bits for two
seconds: `codes` splits z_e into parts with a codebook of 200 each (product quantization, Jégou et al. 2011); `codes: 1`
is the literal reading of the paper. How the codebook is learned: by the exponential moving average of the vectors
assigned to each code, van den Oord's alternative to the codebook term of equation 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from react_ros.config import in_range, whole_in_range
from react_ros.generators.chunked import ChunkSampling
from react_ros.generators.latent_chunks import columns_of
from react_ros.nn.denoisers import DenoiserConfig
from react_ros.nn.diffusion import DiffusionConfig
from react_ros.nn.quantizers import Quantized, Quantizer, QuantizerConfig
from react_ros.nn.window_latents import (
    Autoencoder,
    ConditionConfig,
    DecodedWindows,
    LatentListener,
    WindowConfig,
    WindowDecoder,
    WindowEncoder,
)


@dataclass(frozen=True, slots=True)
class VqVaeConfig:
    """Sizes of the autoencoder and its codebook. Raises ValueError for an impossible value."""

    window: WindowConfig = field(default_factory=lambda: WindowConfig(cell="lstm", layers=2))
    codes: int = 16
    """Codes of each window's latent; 1 in the paper."""
    codebook_size: int = 200
    """K, size of each codebook."""
    commitment: float = 0.25
    """beta, weight of the commitment loss."""

    def __post_init__(self) -> None:
        whole_in_range("codes", self.codes, 1, 64)
        whole_in_range("codebook_size", self.codebook_size, 2, 65_536)
        in_range("commitment", self.commitment, 0.0, 100.0)
        if self.window.latent % self.codes:
            raise ValueError(
                f"codes is {self.codes}: they must share the latent's {self.window.latent} dimensions equally"
            )

    @property
    def quantizer(self) -> QuantizerConfig:
        return QuantizerConfig(
            "vq", groups=self.codes, codebook_size=self.codebook_size, code_width=self.window.latent // self.codes,
            commitment_weight=self.commitment,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The config in the weights' YAML: sizes of the networks, and the protocol they were trained for."""

    autoencoder: VqVaeConfig = field(default_factory=VqVaeConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    protocol: Literal["online", "offline"] = "online"
    condition: ConditionConfig = field(default_factory=ConditionConfig)
    sampling: ChunkSampling = field(default_factory=lambda: ChunkSampling(guidance=1.5))
    """The default is of the weights of 2026-11-21, which name none. Chosen on the val split of simulated dyads: FRCorr
    2.2 at 1 (as in the paper), 2.6 at 1.5, 2.7 at 2, with FRVar 0.045, 0.055 and 0.061 (people: 0.056)."""


class VqVae(Autoencoder):
    """A vector-quantized autoencoder of windows of listeners."""

    def __init__(self, config: VqVaeConfig) -> None:
        super().__init__()
        self.window = config.window
        self.encoder = WindowEncoder(config.window)
        self.quantizer = Quantizer(config.quantizer)
        self.decoder = WindowDecoder(config.window)

    def quantize(self, latent: Tensor, valid: Tensor | None = None) -> Quantized:
        """z_e (N, D) to its nearest codes, as one clip; only valid windows (N,) update the codebook."""
        return self.quantizer(latent.unsqueeze(0), None if valid is None else valid.unsqueeze(0))

    def encode(self, frames: Tensor) -> Tensor:
        """z_e (N, D), each segment normalised to mean 0 and variance 1, so that codes and latents have one scale."""
        latent = self.encoder(frames)
        share = self.window.latent // self.window.segments
        return F.layer_norm(latent.unflatten(1, (-1, share)), (share,)).flatten(1)

    def decode(self, latent: Tensor, quantize: bool = True) -> DecodedWindows:
        return self.decoder(self.quantize(latent).latent[0] if quantize else latent)


def networks(config: ModelConfig) -> LatentListener:
    """Untrained networks of these sizes."""
    return LatentListener(
        VqVae(config.autoencoder), config.denoiser, config.diffusion, config.condition, columns_of(config.condition)
    )
