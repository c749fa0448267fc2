"""How VQ-Diff is trained: the vector-quantized autoencoder of listeners, then the diffusion of its latents."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from react_ros.config import in_range
from react_ros.nn.quantizers import Usage
from react_ros.nn.window_latents import LatentListener
from react_ros.systems.vqdiff.model import ModelConfig, VqVae, VqVaeConfig
from react_ros.training.data import Batch, Clips
from react_ros.training.window_latents import (
    DiffusionStageConfig,
    LatentTask,
    WindowsTask,
    clip_windows,
    over,
    pairs,
    reconstruction,
)


@dataclass(frozen=True, slots=True)
class AutoencoderTaskConfig:
    """Raises ValueError for an impossible value."""

    model: VqVaeConfig = field(default_factory=VqVaeConfig)
    face: float = 25.0
    """Weight of the face model's error."""
    settle: float = 0.3
    """Share of the training in which the decoder is told the latents themselves, while the codebook follows them: told
    codes that mean nothing yet, it learns to do without them, and all latents become one."""

    def __post_init__(self) -> None:
        in_range("face", self.face, 0.0, 1e4)
        in_range("settle", self.settle, 0.0, 1.0)


class AutoencoderTask(WindowsTask):
    """Windows of listeners to codes and back (equation 1: reconstruction, and commitment to the codes)."""

    system = "vqdiff"
    Config, Model = AutoencoderTaskConfig, VqVae
    judged_by = "reconstruction"
    model: VqVae

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        real = pairs(batch, self.model.window.frames, "offline")
        latent = self.model.encode(real.attributes)
        settling = self.training and progress < self.config.settle
        quantized = self.model.quantize(latent.detach() if settling else latent, real.whole > 0.0)
        reconstruction, parts = self.missed(self.model.decoder(latent if settling else quantized.latent[0]), real)
        return {
            "loss": reconstruction + quantized.loss,
            "reconstruction": reconstruction.detach(),
            "commitment": quantized.loss.detach(),
            **parts,
        }

    @torch.no_grad()
    def figures(self, clips: Clips, rng: torch.Generator) -> dict[str, float]:
        """RMSE of what codes say again, and how the codes are used."""
        quantizer, frames = self.model.quantizer, self.model.window.frames
        usage = Usage(quantizer.groups, quantizer.size)
        for batch in clip_windows(clips, frames, next(self.model.parameters()).device):
            real = pairs(batch, frames, "offline")
            usage.add(self.model.quantize(self.model.encode(real.attributes[real.whole > 0.0])).indices)
        return {**reconstruction(self.model, clips), **usage.figures()}


class DiffusionTask(LatentTask):
    """The listener's latent, given the speaker's: the mean of two squared errors, the latent's and that of what it
    says."""

    system = "vqdiff"
    Config, First = DiffusionStageConfig, AutoencoderTask

    def assemble(self, autoencoder: VqVae, sizes: VqVaeConfig) -> tuple[ModelConfig, LatentListener]:
        c = self.config
        listener = LatentListener(autoencoder, c.denoiser, c.diffusion)
        return ModelConfig(sizes, c.denoiser, c.diffusion, c.protocol), listener

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        found = self.pairs(batch, rng)
        with torch.no_grad():
            clean, condition = self.networks.latents(found.attributes), self.networks.latents(found.speaker)
        guess = self.guess(clean, condition, *self.chance(clean, rng))
        latent = over((guess.predicted - guess.target).square(), found.whole)
        shown = over((guess.shown.attributes - found.attributes).square(), found.whole)
        return {"loss": (latent + shown) / 2.0, "latent": latent.detach(), "reconstruction": shown.detach()}
