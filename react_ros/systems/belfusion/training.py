"""Training of BeLFusion: a variational autoencoder of listener windows, then a diffusion of its latents."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from react_ros.config import in_range, whole_in_range
from react_ros.generators.latent_chunks import columns_of
from react_ros.nn.window_latents import LatentListener, WindowConfig
from react_ros.systems.belfusion.model import ModelConfig, Vae, gru_window
from react_ros.training.data import Batch, Clips
from react_ros.training.window_latents import (
    LatentDiffusionConfig,
    LatentDiffusionStage,
    Pairs,
    Prediction,
    SpeakerEncoderStage,
    WindowAutoencoderStage,
    over,
    pairs,
    reconstruction,
)


@dataclass(frozen=True, slots=True)
class AutoencoderStageConfig:
    """Raises ValueError for an impossible value."""

    model: WindowConfig = field(default_factory=gru_window)
    face: float = 25.0
    """Weight of the face model's error."""
    divergence: float = 3e-4
    """Weight of the latents' KL divergence from the standard normal distribution, nats."""

    def __post_init__(self) -> None:
        in_range("face", self.face, 0.0, 1e4)
        in_range("divergence", self.divergence, 0.0, 1e4)


class AutoencoderStage(WindowAutoencoderStage):
    """Encodes windows of listeners as normal distributions of latents, and decodes them."""

    system = "belfusion"
    Config, Model = AutoencoderStageConfig, Vae
    model: Vae

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        real = pairs(batch, self.model.window.frames, "offline")
        posterior = self.model.posterior(real.content(self.model.window))
        noise = torch.randn(posterior.mean.shape, generator=rng, device=posterior.mean.device)
        reconstruction, parts = self.reconstruction_loss(self.model.decoder(posterior.sample(noise)), real)
        divergence = over(posterior.divergence().unsqueeze(1), real.whole)
        return {
            "loss": reconstruction + self.config.divergence * divergence,
            "divergence": divergence.detach(),
            **parts,
        }

    def figures(self, clips: Clips, rng: torch.Generator) -> dict[str, float]:
        """RMSE of reconstructions from the mean latents."""
        return reconstruction(self.model, clips)


@dataclass(frozen=True, slots=True)
class DiffusionStageConfig(LatentDiffusionConfig):
    """Raises ValueError for an impossible value."""

    guesses: int = 1
    """k: the latent is predicted from k noises, and only the prediction with the least loss is learned from."""
    latent: float = 10.0
    """Weight of the latent's mean absolute error."""
    shown: float = 10.0
    """Weight of the mean squared error of what is decoded from it."""

    def __post_init__(self) -> None:
        whole_in_range("guesses", self.guesses, 1, 1000)
        in_range("latent", self.latent, 0.0, 1e4)
        in_range("shown", self.shown, 0.0, 1e4)


class EncoderStage(SpeakerEncoderStage):
    """Trains the speaker's encoder, where the condition is the person."""

    system = "belfusion"


class DiffusionStage(LatentDiffusionStage):
    """Diffuses the listener's latent given the speaker; the loss is that of the nearest of k predictions."""

    system = "belfusion"
    Config, First = DiffusionStageConfig, AutoencoderStage
    config: DiffusionStageConfig

    def assemble(self, autoencoder: Vae, sizes: WindowConfig) -> tuple[ModelConfig, LatentListener]:
        c = self.config
        listener = LatentListener(autoencoder, c.denoiser, c.diffusion, c.condition, columns_of(c.condition))
        return ModelConfig(sizes, c.denoiser, c.diffusion, c.protocol, c.condition, c.sampling), listener

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        found = self.pairs(batch, rng)
        with torch.no_grad():
            clean = self.networks.latents(found.content(self.window))
            level, noise = self.sample_noise(clean, rng)
        condition = self.told(found)
        if self.config.guesses > 1:
            with torch.no_grad():
                noise = self._nearest(clean, condition, level, noise, found, rng)
        prediction = self.predict(clean, condition, level, noise)
        latent, shown = self._parts(prediction, found)
        return {
            "loss": over(self.config.latent * latent + self.config.shown * shown, found.whole),
            "latent": over(latent.detach(), found.whole),
            "reconstruction": over(shown.detach(), found.whole),
        }

    def _nearest(
        self, clean: Tensor, condition: Tensor, level: Tensor, noise: Tensor, real: Pairs, rng: torch.Generator
    ) -> Tensor:
        """(N, D) for each window the one of k noises whose prediction has the least loss.

        Called without gradients: the gradient of a minimum is that of the least error alone.
        """
        noises = torch.cat(
            [noise.unsqueeze(0), torch.randn(self.config.guesses - 1, *noise.shape, generator=rng, device=noise.device)]
        )
        total = []
        for candidate in noises:
            latent, shown = self._parts(self.predict(clean, condition, level, candidate), real)
            total.append(self.config.latent * latent + self.config.shown * shown)
        best = torch.stack(total).argmin(0).squeeze(1)  # (N,)
        return noises[best, torch.arange(len(best), device=best.device)]

    def _parts(self, prediction: Prediction, real: Pairs) -> tuple[Tensor, Tensor]:
        """(N, 1) each: the latent's mean absolute error, and the mean squared error of what is decoded from it."""
        latent = (prediction.predicted - prediction.target).abs().mean(1, keepdim=True)
        return latent, self.shown_errors(prediction.shown, real).mean((1, 2)).unsqueeze(1)
