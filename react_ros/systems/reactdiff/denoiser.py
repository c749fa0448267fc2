"""The noise predictor: a 1-D U-Net over a window's latents, conditioned on one vector of the speaker's window.

Li et al. (ReactDiff), section 3.4, after Preechakul et al. (2022), Diffusion Autoencoders: residual blocks whose
normalisation is scaled and shifted by the noise level, and scaled by the condition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from react_ros.config import in_range, whole_in_range
from react_ros.nn.denoisers import level_embedding
from react_ros.systems.reactdiff.mmt import Shift, shifted


@dataclass(frozen=True, slots=True)
class DenoiserConfig:
    """Sizes of the U-Net and of its condition. Raises ValueError for an impossible value."""

    axis: Literal["time", "latent"] = "time"
    """Axis of the convolutions. time: frames, with the latent's dimensions as channels. latent: the latent's
    dimensions, with the frames as channels, as in the public code; the paper leaves it open."""
    channels: int = 64
    """Model channels; 256 in the public code."""
    multiples: tuple[int, ...] = (1, 2, 2)
    """Channels of each resolution, as multiples of `channels`."""
    blocks: int = 1
    """Residual blocks at each resolution."""
    heads: int = 4
    """Heads of the self-attention at the lowest resolution; 0: none."""
    constraint: int = 64
    """Width of z_bc; 1024 in the paper."""
    hidden: int = 64
    """Hidden width of the MLP of z_bc."""
    groups: int = 8
    """Groups of every group normalisation."""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        whole_in_range("channels", self.channels, 2, 65536)
        if self.channels % 2:
            raise ValueError(f"channels is {self.channels}: it must be even, for the sines and cosines of the level")
        if not self.multiples:
            raise ValueError("multiples are empty: there must be at least one resolution")
        for i, multiple in enumerate(self.multiples):
            whole_in_range(f"multiples[{i}]", multiple, 1, 64)
        whole_in_range("blocks", self.blocks, 1, 16)
        whole_in_range("heads", self.heads, 0, 64)
        whole_in_range("constraint", self.constraint, 1, 65536)
        whole_in_range("hidden", self.hidden, 1, 65536)
        whole_in_range("groups", self.groups, 1, 256)
        for name in ("channels", "constraint"):
            if getattr(self, name) % self.groups:
                raise ValueError(f"{name} is {getattr(self, name)} in {self.groups} groups: they must share it equally")
        if self.heads and self.channels * self.multiples[-1] % self.heads:
            raise ValueError(
                f"the lowest resolution has {self.channels * self.multiples[-1]} channels with {self.heads} heads: "
                "the heads must share them equally"
            )
        in_range("dropout", self.dropout, 0.0, 0.9)


class Constraint(nn.Module):
    """z_bc, the speaker's behaviour constraint: GroupNorm(MLP(flattened x_0)) of a window (equation 6)."""

    def __init__(self, config: DenoiserConfig, window: int, latent: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(window * latent, config.hidden), nn.SiLU(), nn.Linear(config.hidden, config.constraint)
        )
        self.norm = nn.GroupNorm(config.groups, config.constraint)

    def forward(self, x0: Tensor) -> Tensor:
        """(B, window, latent) to (B, constraint)."""
        return self.norm(self.mlp(x0.flatten(1)))


class Residual(nn.Module):
    """Two convolutions; the normalisation between them is modulated by the noise level and the condition."""

    def __init__(self, inputs: int, outputs: int, embedding: int, config: DenoiserConfig) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(math.gcd(config.groups, inputs), inputs)
        self.first = nn.Conv1d(inputs, outputs, 3, padding=1)
        self.norm = nn.GroupNorm(config.groups, outputs)
        self.level = nn.Linear(embedding, 2 * outputs)
        self.condition = nn.Linear(embedding, outputs)
        self.dropout = nn.Dropout(config.dropout)
        self.second = nn.Conv1d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))

    def forward(self, x: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        """(B, inputs, length) with the level's embedding (B, embedding) and the condition's scale (B, outputs)."""
        h = self.first(F.silu(self.first_norm(x)))
        scale, shift = self.level(level)[..., None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm(h), 1.0 + scale) * (1.0 + condition[..., None])
        return self.skip(x) + self.second(self.dropout(F.silu(h)))


class SelfAttention(nn.Module):
    def __init__(self, channels: int, config: DenoiserConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = nn.GroupNorm(config.groups, channels)
        self.query_key_value = nn.Conv1d(channels, 3 * channels, 1)
        self.out = nn.Conv1d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(cast(Tensor, self.out.bias))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.query_key_value(self.norm(x)).unflatten(1, (3, self.heads, -1)).transpose(3, 4).unbind(1)
        attended = F.scaled_dot_product_attention(q, k, v)  # (B, heads, length, depth)
        return x + self.out(attended.transpose(2, 3).flatten(1, 2))


class Denoiser(nn.Module):
    """epsilon_theta(x_t, t, z_bc) of the standardised latents of one window."""

    def __init__(
        self, config: DenoiserConfig, window: int, latent: int, speaker: int, levels: int, *, every: int = 1
    ) -> None:
        """latent: width of the denoised latents; speaker: width of the frames of z_bc, one of `every`; levels: noise
        levels of the forward process."""
        super().__init__()
        self.config, self.window, self.latent, self.levels = config, window, latent, levels
        self.constraint = Constraint(config, len(range(0, window, every)), speaker)
        channels = config.channels
        embedding = 4 * channels
        self.scale = 1000.0 / levels
        self.level = nn.Sequential(nn.Linear(channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.condition = nn.Linear(config.constraint, embedding)
        ends = latent if config.axis == "time" else window
        self.first = nn.Conv1d(ends, channels, 3, padding=1)
        widths = [channels * multiple for multiple in config.multiples]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        width, skips = channels, []
        for i, outputs in enumerate(widths):
            for _ in range(config.blocks):
                self.down.append(Residual(width, outputs, embedding, config))
                width = outputs
                skips.append(width)
            if i < len(widths) - 1:
                self.shrink.append(nn.Conv1d(width, width, 3, stride=2, padding=1))
        self.middle = Residual(width, width, embedding, config)
        self.attention = SelfAttention(width, config) if config.heads else nn.Identity()
        for i, outputs in enumerate(reversed(widths)):
            if i:
                self.grow.append(nn.Conv1d(width, width, 3, padding=1))
            for _ in range(config.blocks):
                self.up.append(Residual(width + skips.pop(), outputs, embedding, config))
                width = outputs
        self.norm = nn.GroupNorm(config.groups, width)
        self.out = nn.Conv1d(width, ends, 3, padding=1)

    def forward(
        self, x: Tensor, level: Tensor, z_bc: Tensor, shifts: Sequence[Shift] = (), style: Tensor | None = None
    ) -> Tensor:
        """Noisy latents (B, window, latent), noise levels (B,) int64 and z_bc (B, constraint) to the noise.

        shifts: one for each of `linears`, in order, applied with the style (B, style); or none.
        """
        through = shifted(shifts, style)
        along_time = self.config.axis == "time"
        x = self.first(x.transpose(1, 2) if along_time else x)
        t = F.silu(self.level(level_embedding(self.scale * level, self.config.channels)))  # (B, embedding)
        c = F.silu(through(self.condition, z_bc))
        blocks, kept = self.config.blocks, []
        down, up = cast("list[Residual]", list(self.down)), cast("list[Residual]", list(self.up))
        for i in range(len(self.config.multiples)):
            if i:
                x = self.shrink[i - 1](x)
            for block in down[i * blocks : (i + 1) * blocks]:
                x = block(x, t, through(block.condition, c))
                kept.append(x)
        x = self.attention(self.middle(x, t, through(self.middle.condition, c)))
        for i in range(len(self.config.multiples)):
            if i:
                # Upsample to the former length, which may be odd.
                x = self.grow[i - 1](F.interpolate(x, size=kept[-1].shape[-1]))
            for block in up[i * blocks : (i + 1) * blocks]:
                x = block(torch.cat([x, kept.pop()], dim=1), t, through(block.condition, c))
        x = self.out(F.silu(self.norm(x)))
        return x.transpose(1, 2) if along_time else x

    def linears(self) -> list[nn.Linear]:
        """The layers that a style edits: those of the condition, in the order of `forward`."""
        blocks = cast("list[Residual]", [*self.down, self.middle, *self.up])
        return [self.condition, *(block.condition for block in blocks)]

    def given(self, z_bc: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The network with a fixed condition, for `Diffusion.sample`."""
        return lambda x, level: self(x, level, z_bc)
