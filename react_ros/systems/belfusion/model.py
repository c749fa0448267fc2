"""The networks of BeLFusion: a variational autoencoder of windows, and a diffusion of its latents.

After Barquero et al., "BeLFusion: Latent Diffusion for Behavior-Driven Human Motion Prediction" (ICCV 2023), as the
baseline of the REACT challenges: a GRU autoencoder of 50 frames of attributes, h = z = 128, a perceptron from 25
attributes to the face model, ten denoising steps to x0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from react_ros.generators.chunked import ChunkSampling
from react_ros.generators.latent_chunks import columns_of
from react_ros.nn.denoisers import DenoiserConfig
from react_ros.nn.diffusion import DiffusionConfig
from react_ros.nn.window_latents import (
    Autoencoder,
    ConditionConfig,
    DecodedWindows,
    LatentListener,
    WindowConfig,
    WindowDecoder,
    WindowEncoder,
)


def gru_window() -> WindowConfig:
    """The encoder and decoder of BeLFusion: one GRU layer of width 128."""
    return WindowConfig(cell="gru", layers=1, width=128)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The config in the weights' YAML: sizes of the networks, and the protocol they were trained for."""

    window: WindowConfig = field(default_factory=gru_window)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    protocol: Literal["online", "offline"] = "online"
    condition: ConditionConfig = field(default_factory=ConditionConfig)
    sampling: ChunkSampling = field(default_factory=lambda: ChunkSampling(guidance=2.0))
    """The default is of the weights of 2026-11-21, which name none. Chosen on the val split of simulated dyads: FRCorr
    1.9 at 1 (as in the challenges), 2.2 at 1.5, 2.4 at 2, where FRVar is that of people, 0.056."""


class Posterior(NamedTuple):
    """The normal distribution of a window's latent."""

    mean: Tensor
    """(N, D)."""
    log_variance: Tensor
    """(N, D)."""

    def sample(self, noise: Tensor) -> Tensor:
        """(N, D) one latent for each window; noise (N, D) standard normal."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def divergence(self) -> Tensor:
        """(N,) Kullback-Leibler divergence from the standard normal, nats."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance).sum(1)


class Vae(Autoencoder):
    """A variational autoencoder of windows of listeners."""

    def __init__(self, config: WindowConfig) -> None:
        super().__init__()
        self.window = config
        self.encoder = WindowEncoder(config, 2)
        self.decoder = WindowDecoder(config)

    def posterior(self, frames: Tensor) -> Posterior:
        """(N, W, 25 or 83) to the distributions of their latents."""
        mean, log_variance = self.encoder(frames).chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(-12.0, 6.0))

    def encode(self, frames: Tensor) -> Tensor:
        """The mean (N, D)."""
        return self.posterior(frames).mean

    def decode(self, latent: Tensor, quantize: bool = True) -> DecodedWindows:
        return self.decoder(latent)


def networks(config: ModelConfig) -> LatentListener:
    """Untrained networks of these sizes."""
    return LatentListener(
        Vae(config.window), config.denoiser, config.diffusion, config.condition, columns_of(config.condition)
    )
