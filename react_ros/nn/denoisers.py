"""A denoiser of latent vectors: a multilayer perceptron with skip connections to its inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from react_ros.config import whole_in_range


@dataclass(frozen=True, slots=True)
class DenoiserConfig:
    """Sizes of a denoiser. Raises ValueError for an impossible value.

    The public code of BeLFusion and VQ-Diff has 10 layers of width 1024: 40 ms on a CPU core for ten steps.
    """

    width: int = 384
    layers: int = 6
    time_width: int = 64
    """Width of the noise level's embedding; even."""

    def __post_init__(self) -> None:
        whole_in_range("width", self.width, 4, 16384)
        whole_in_range("layers", self.layers, 1, 64)
        whole_in_range("time_width", self.time_width, 2, 4096)
        if self.time_width % 2:
            raise ValueError(f"time_width is {self.time_width}: it must be even, for pairs of sine and cosine")


def level_embedding(level: Tensor, width: int) -> Tensor:
    """(B,) noise levels to (B, width): sines and cosines of wavelengths 2 pi to 20000 pi (Vaswani et al. 2017)."""
    octave = torch.arange(width // 2, device=level.device, dtype=torch.float32) / (width // 2)
    angle = level.float().unsqueeze(1) * torch.exp(-math.log(10_000.0) * octave)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class SkipDenoiser(nn.Module):
    """A multilayer perceptron; every layer's input is the former layer, the noisy latent, the condition and the level.

    After the denoiser of BeLFusion's latent space (Barquero et al. 2023, after Preechakul et al. 2022). Each layer adds
    its projection of noisy latent, condition and level before the normalisation.
    """

    def __init__(self, config: DenoiserConfig, latent: int, condition: int) -> None:
        super().__init__()
        self.config, self.latent, self.condition = config, latent, condition
        width, layers = config.width, config.layers
        self.time = nn.Sequential(nn.Linear(config.time_width, width), nn.SiLU(), nn.Linear(width, config.time_width))
        # The projections for all layers, in one product; `told` is its name in shipped weights.
        self.told = nn.Linear(latent + condition + config.time_width, layers * width)
        self.hidden = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.out = nn.Linear(width, latent)

    def forward(self, noisy: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        """(B, latent) at level (B,) int64, given (B, condition), to (B, latent)."""
        time = self.time(level_embedding(level, self.config.time_width).to(noisy.dtype))
        skips = self.told(torch.cat([noisy, condition, time], dim=1)).chunk(self.config.layers, dim=1)
        x = F.silu(self.norms[0](skips[0]))
        for hidden, norm, skip in zip(self.hidden, self.norms[1:], skips[1:], strict=True):
            x = F.silu(norm(hidden(x) + skip))
        return self.out(x)
