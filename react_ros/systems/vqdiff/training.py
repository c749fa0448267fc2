"""Training of VQ-Diff: a vector-quantized autoencoder of listener windows, then a diffusion of its latents."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from react_ros.config import in_range
from react_ros.generators.latent_chunks import columns_of
from react_ros.nn.quantizers import Usage
from react_ros.nn.window_latents import LatentListener
from react_ros.systems.vqdiff.model import ModelConfig, VqVae, VqVaeConfig
from react_ros.training.data import Batch, Clips
from react_ros.training.window_latents import (
    LatentDiffusionConfig,
    LatentDiffusionStage,
    SpeakerEncoderStage,
    WindowAutoencoderStage,
    clip_windows,
    over,
    pairs,
    reconstruction,
)


@dataclass(frozen=True, slots=True)
class AutoencoderStageConfig:
    """Raises ValueError for an impossible value."""

    model: VqVaeConfig = field(default_factory=VqVaeConfig)
    face: float = 25.0
    """Weight of the face model's error."""
    settle: float = 0.3
    """Share of the training at its beginning in which the decoder reads the latents before quantization, while the
    codebook is fitted to them: from an unfitted one the decoder learns to ignore the codes, and latents collapse."""

    def __post_init__(self) -> None:
        in_range("face", self.face, 0.0, 1e4)
        in_range("settle", self.settle, 0.0, 1.0)


class AutoencoderStage(WindowAutoencoderStage):
    """Encodes windows of listeners as codes, and decodes them (equation 1: reconstruction and commitment losses)."""

    system = "vqdiff"
    Config, Model = AutoencoderStageConfig, VqVae
    judged_by = "reconstruction"
    model: VqVae

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        real = pairs(batch, self.model.window.frames, "offline")
        latent = self.model.encode(real.content(self.model.window))
        settling = self.training and progress < self.config.settle
        quantized = self.model.quantize(latent.detach() if settling else latent, real.whole > 0.0)
        reconstruction, parts = self.reconstruction_loss(
            self.model.decoder(latent if settling else quantized.latent[0]), real
        )
        return {
            "loss": reconstruction + quantized.loss,
            "reconstruction": reconstruction.detach(),
            "commitment": quantized.loss.detach(),
            **parts,
        }

    @torch.no_grad()
    def figures(self, clips: Clips, rng: torch.Generator) -> dict[str, float]:
        """RMSE of reconstructions without quantization, and the use of the codes."""
        quantizer, frames = self.model.quantizer, self.model.window.frames
        usage = Usage(quantizer.groups, quantizer.size)
        for batch in clip_windows(clips, frames, next(self.model.parameters()).device):
            real = pairs(batch, frames, "offline")
            content = real.content(self.model.window)[real.whole > 0.0]
            usage.add(self.model.quantize(self.model.encode(content)).indices)
        return {**reconstruction(self.model, clips), **usage.figures()}


class EncoderStage(SpeakerEncoderStage):
    """Trains the speaker's encoder, where the condition is the person."""

    system = "vqdiff"


class DiffusionStage(LatentDiffusionStage):
    """Diffuses the listener's latent given the speaker; the loss is the mean of the squared errors of the latent and of
    what is decoded from it."""

    system = "vqdiff"
    Config, First = LatentDiffusionConfig, AutoencoderStage

    def assemble(self, autoencoder: VqVae, sizes: VqVaeConfig) -> tuple[ModelConfig, LatentListener]:
        c = self.config
        listener = LatentListener(autoencoder, c.denoiser, c.diffusion, c.condition, columns_of(c.condition))
        return ModelConfig(sizes, c.denoiser, c.diffusion, c.protocol, c.condition, c.sampling), listener

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        found = self.pairs(batch, rng)
        with torch.no_grad():
            clean = self.networks.latents(found.content(self.window))
        condition = self.told(found)
        prediction = self.predict(clean, condition, *self.sample_noise(clean, rng))
        latent = over((prediction.predicted - prediction.target).square(), found.whole)
        shown = over(self.shown_errors(prediction.shown, found), found.whole)
        return {"loss": (latent + shown) / 2.0, "latent": latent.detach(), "reconstruction": shown.detach()}
