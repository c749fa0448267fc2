"""The networks of VQ-Diff: a vector-quantized autoencoder of windows, and a diffusion of its latents.

After Nguyen et al., "Vector Quantized Diffusion Models for Multiple Appropriate Reactions Generation" (FG 2024):
windows of 50 frames, two LSTM layers in encoder and decoder, D = 128, K = 200, beta = 0.25, ten denoising steps.

What the paper leaves open. Whether z_e is one vector a window or one a frame: the denoiser of the public code, a
perceptron over 128 numbers, has a place for one a window, and so have we. One of 200 codes then says all of two
seconds, 7.6 bits: `codes` splits z_e into so many parts, each with its own 200 (product quantization, Jégou et al.
2011); `codes: 1` is the paper's reading by the letter. How the codebook is learned: by a running mean of the vectors
that chose each code, van den Oord's own alternative to the codebook term of equation 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from react_ros.config import in_range, whole_in_range
from react_ros.nn.denoisers import DenoiserConfig
from react_ros.nn.diffusion import DiffusionConfig
from react_ros.nn.quantizers import Quantized, Quantizer, QuantizerConfig
from react_ros.nn.window_latents import (
    Autoencoder,
    LatentListener,
    Shown,
    WindowConfig,
    WindowDecoder,
    WindowEncoder,
)


@dataclass(frozen=True, slots=True)
class VqVaeConfig:
    """Sizes of the autoencoder and its codebook. Raises ValueError for an impossible value."""

    window: WindowConfig = field(default_factory=lambda: WindowConfig(cell="lstm", layers=2))
    codes: int = 16
    """Codes that a window's latent is made of; the paper's is 1."""
    codebook_size: int = 200
    """K, of each of them."""
    commitment: float = 0.25
    """beta."""

    def __post_init__(self) -> None:
        whole_in_range("codes", self.codes, 1, 64)
        whole_in_range("codebook_size", self.codebook_size, 2, 65_536)
        in_range("commitment", self.commitment, 0.0, 100.0)
        if self.window.latent % self.codes:
            raise ValueError(
                f"codes is {self.codes}: they must share the latent's {self.window.latent} numbers equally"
            )

    @property
    def quantizer(self) -> QuantizerConfig:
        return QuantizerConfig(
            "vq", groups=self.codes, codebook_size=self.codebook_size, code_width=self.window.latent // self.codes,
            commitment_weight=self.commitment,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What the weights' YAML says of their networks, and which protocol they were trained for."""

    autoencoder: VqVaeConfig = field(default_factory=VqVaeConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    protocol: Literal["online", "offline"] = "online"


class VqVae(Autoencoder):
    """Windows of attributes to codes and back."""

    def __init__(self, config: VqVaeConfig) -> None:
        super().__init__()
        self.window = config.window
        self.encoder = WindowEncoder(config.window, config.window.latent)
        self.quantizer = Quantizer(config.quantizer)
        self.decoder = WindowDecoder(config.window)

    def quantize(self, latent: Tensor, valid: Tensor | None = None) -> Quantized:
        """z_e (N, D) to its nearest codes, as a batch of one clip; only valid windows (N,) shape the codebook."""
        return self.quantizer(latent.unsqueeze(0), None if valid is None else valid.unsqueeze(0))

    def encode(self, attributes: Tensor) -> Tensor:
        """z_e (N, D), each of mean 0 and variance 1, so that codes and latents keep one scale."""
        return F.layer_norm(self.encoder(attributes), (self.window.latent,))

    def decode(self, latent: Tensor, quantize: bool = True) -> Shown:
        return self.decoder(self.quantize(latent).latent[0] if quantize else latent)


def networks(config: ModelConfig) -> LatentListener:
    """Untrained."""
    return LatentListener(VqVae(config.autoencoder), config.denoiser, config.diffusion)
