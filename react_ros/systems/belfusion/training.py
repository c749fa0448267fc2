"""How BeLFusion is trained: the variational autoencoder of listeners, then the diffusion of its latents."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from react_ros.config import in_range, whole_in_range
from react_ros.nn.window_latents import LatentListener, WindowConfig
from react_ros.systems.belfusion.model import ModelConfig, Vae, gru_window
from react_ros.training.data import Batch, Clips
from react_ros.training.window_latents import (
    DiffusionStageConfig,
    Guess,
    LatentTask,
    WindowsTask,
    over,
    pairs,
    reconstruction,
)


@dataclass(frozen=True, slots=True)
class AutoencoderTaskConfig:
    """Raises ValueError for an impossible value."""

    model: WindowConfig = field(default_factory=gru_window)
    face: float = 25.0
    """Weight of the face model's error."""
    divergence: float = 3e-4
    """Weight of the latents' divergence from the standard normal, nats."""

    def __post_init__(self) -> None:
        in_range("face", self.face, 0.0, 1e4)
        in_range("divergence", self.divergence, 0.0, 1e4)


class AutoencoderTask(WindowsTask):
    """Windows of listeners to normal distributions and back."""

    system = "belfusion"
    Config, Model = AutoencoderTaskConfig, Vae
    model: Vae

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        real = pairs(batch, self.model.window.frames, "offline")
        posterior = self.model.posterior(real.attributes)
        noise = torch.randn(posterior.mean.shape, generator=rng, device=posterior.mean.device)
        reconstruction, parts = self.missed(self.model.decoder(posterior.sample(noise)), real)
        divergence = over(posterior.divergence().unsqueeze(1), real.whole)
        return {
            "loss": reconstruction + self.config.divergence * divergence,
            "divergence": divergence.detach(),
            **parts,
        }

    def figures(self, clips: Clips, rng: torch.Generator) -> dict[str, float]:
        """RMSE of what the mean latents say again."""
        return reconstruction(self.model, clips)


@dataclass(frozen=True, slots=True)
class DiffusionTaskConfig(DiffusionStageConfig):
    """Raises ValueError for an impossible value."""

    guesses: int = 1
    """k: from so many noises the latent is guessed, and only the nearest guess is learned from."""
    latent: float = 10.0
    """Weight of the latent's absolute error."""
    shown: float = 10.0
    """Weight of the squared error of the attributes that it says."""

    def __post_init__(self) -> None:
        whole_in_range("guesses", self.guesses, 1, 1000)
        in_range("latent", self.latent, 0.0, 1e4)
        in_range("shown", self.shown, 0.0, 1e4)


class DiffusionTask(LatentTask):
    """The listener's latent, given the speaker's: the nearest of k guesses counts."""

    system = "belfusion"
    Config, First = DiffusionTaskConfig, AutoencoderTask
    config: DiffusionTaskConfig

    def assemble(self, autoencoder: Vae, sizes: WindowConfig) -> tuple[ModelConfig, LatentListener]:
        c = self.config
        listener = LatentListener(autoencoder, c.denoiser, c.diffusion)
        return ModelConfig(sizes, c.denoiser, c.diffusion, c.protocol), listener

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        found = self.pairs(batch, rng)
        with torch.no_grad():
            clean, condition = self.networks.latents(found.attributes), self.networks.latents(found.speaker)
            level, noise = self.chance(clean, rng)
            if self.config.guesses > 1:
                noise = self._nearest(clean, condition, level, noise, found.attributes, rng)
        guess = self.guess(clean, condition, level, noise)
        latent, shown = self._parts(guess, found.attributes)
        return {
            "loss": over(self.config.latent * latent + self.config.shown * shown, found.whole),
            "latent": over(latent.detach(), found.whole),
            "reconstruction": over(shown.detach(), found.whole),
        }

    def _nearest(
        self, clean: Tensor, condition: Tensor, level: Tensor, noise: Tensor, real: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Of k noises (N, D), for each window the one from which the guess is nearest.

        The gradient of the least of k errors is that of the least alone: the others need none.
        """
        noises = torch.cat(
            [noise.unsqueeze(0), torch.randn(self.config.guesses - 1, *noise.shape, generator=rng, device=noise.device)]
        )
        total = []
        for one in noises:
            latent, shown = self._parts(self.guess(clean, condition, level, one), real)
            total.append(self.config.latent * latent + self.config.shown * shown)
        best = torch.stack(total).argmin(0).squeeze(1)  # (N,)
        return noises[best, torch.arange(len(best), device=best.device)]

    @staticmethod
    def _parts(guess: Guess, real: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1) each: the latent's mean absolute error, and the attributes' mean squared error."""
        latent = (guess.predicted - guess.target).abs().mean(1, keepdim=True)
        return latent, (guess.shown.attributes - real).square().mean((1, 2)).unsqueeze(1)
