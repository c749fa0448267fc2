"""All networks of ReactDiff: the transformer, the diffusion in its latent space, and a listener's own shifts."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from react_ros.generators.checks import in_range
from react_ros.generators.parts.diffusion import Diffusion, DiffusionConfig
from react_ros.generators.reactdiff.denoiser import Denoiser, DenoiserConfig
from react_ros.generators.reactdiff.mmt import Mmt, MmtConfig
from react_ros.generators.reactdiff.style import Personal, StyleConfig

BOUND = 4.0
"""Standard deviations of the latents that no clean one leaves while it is denoised."""


def _diffusion() -> DiffusionConfig:
    return DiffusionConfig(steps=20, schedule="cosine", prediction="epsilon")


@dataclass(frozen=True, slots=True)
class LatentConfig:
    """The diffusion in the latent space: T = 20 levels and epsilon as in the paper, the public code's cosine."""

    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    diffusion: DiffusionConfig = field(default_factory=_diffusion)
    """A U-Net that has fewer channels than the latent has numbers cannot hand on noise of full rank, so it cannot
    predict it: with small ones take `prediction: x0`."""
    scale: float = 1.0
    """What standardised latents are divided by. The numbers of a window say much the same: noise as loud as each of
    them hides what they say together at the last levels only, so nearly all is decided there; divided by 8, it is
    decided over many."""

    def __post_init__(self) -> None:
        in_range("scale", self.scale, 1.0, 100.0)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What the weights' YAML says of their networks."""

    mmt: MmtConfig = field(default_factory=MmtConfig)
    latent: LatentConfig = field(default_factory=LatentConfig)
    style: StyleConfig = field(default_factory=StyleConfig)


class Latent(nn.Module):
    """What the speaker's latents x_0 look like, and their diffusion: x_0 again, from noise and z_bc.

    Read closely, the paper's x_0 is the speaker's: the encoder's output, of which the decoder makes the listener, and
    z_bc is made of the same x_0. So the diffusion learns to give back, from a summary of x_0, x_0 itself. All that is
    left to chance is what the summary leaves out, and the network's own error: a well trained one has little diversity.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: LatentConfig, window: int, latent: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("deviation", torch.ones(latent))
        self.diffusion = Diffusion(config.diffusion)
        self.denoiser = Denoiser(config.denoiser, window, latent, config.diffusion.steps)

    def fit(self, x0: Tensor) -> None:
        """Take the mean and standard deviation of latents (N, latent)."""
        self.mean.copy_(x0.mean(0))
        self.deviation.copy_(x0.std(0).clamp_min(1e-4))

    def standard(self, x0: Tensor) -> Tensor:
        """(…, latent) of the encoder to mean 0 and standard deviation 1 / scale."""
        return (x0 - self.mean) / (self.config.scale * self.deviation)

    def sample(self, x0: Tensor, noise: Tensor, *, steps: int | None, eta: float, fresh: Tensor | None) -> Tensor:
        """Windows x_0 (P, window, latent) of the encoder and noise (P, S, window, latent) to as many latents.

        fresh: (steps, P, S, window, latent) for eta > 0.
        """
        samples = noise.shape[1]
        z_bc = self.denoiser.constraint(self.standard(x0)).repeat_interleave(samples, dim=0)
        found = self.diffusion.sample(
            self.denoiser.given(z_bc), noise.flatten(0, 1), steps=steps, eta=eta,
            fresh=None if fresh is None else fresh.flatten(1, 2), clip=BOUND / self.config.scale,
        )  # fmt: skip
        return (found * (self.config.scale * self.deviation) + self.mean).unflatten(0, (-1, samples))


class Networks(nn.Module):
    """All that the weights hold."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.mmt = Mmt(config.mmt)
        self.latent = Latent(config.latent, config.mmt.window, config.mmt.latent)
        self.personal = Personal(config.style, self.mmt.decoder)
