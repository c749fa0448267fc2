"""All networks of ReactDiff: the transformer, the diffusion in its latent space, and the style shifts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from react_ros.config import in_range
from react_ros.face import ATTRIBUTES, FACE_MODEL
from react_ros.generators.chunked import ChunkSampling
from react_ros.nn.diffusion import Diffusion, DiffusionConfig
from react_ros.systems.reactdiff.denoiser import Denoiser, DenoiserConfig
from react_ros.systems.reactdiff.fast_denoiser import FastDenoiser
from react_ros.systems.reactdiff.mmt import Decoder, Mmt, MmtConfig
from react_ros.systems.reactdiff.style import Personal, StyleConfig

_LEAST_DEVIATION = 0.02
"""Lower bound of a latent's standard deviation."""
_EVERY = 5
"""Frames of an expected reaction of which one is told to the denoiser."""
BOUND = 4.0
"""Standard deviations at which clean latents are clipped while denoising."""


def _diffusion() -> DiffusionConfig:
    return DiffusionConfig(steps=20, schedule="cosine", prediction="epsilon")


@dataclass(frozen=True, slots=True)
class LatentConfig:
    """The diffusion in the latent space: T = 20 levels and epsilon as in the paper, cosine as in the public code."""

    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    diffusion: DiffusionConfig = field(default_factory=_diffusion)
    """A U-Net with fewer channels than the latent's dimensions cannot pass on, and so not predict, noise of full rank:
    small ones need `prediction: x0`."""
    speaker: Literal["latents", "expectation"] = "latents"
    """What z_bc is computed from: the speaker's latents, as in the paper, or the reaction that the transformer expects
    of them, every fifth frame of it. The second leaves no room for particulars of the training speakers."""
    scale: float = 1.0
    """Divisor of the standardised latents. The latents of a window are strongly correlated: with noise of their own
    amplitude, their common part is hidden at the last levels only, and nearly all is decided there; divided by 8, it is
    decided over many levels."""

    def __post_init__(self) -> None:
        in_range("scale", self.scale, 1.0, 100.0)
        if self.speaker not in ("latents", "expectation"):
            raise ValueError(f"speaker is {self.speaker!r}: it must be latents or expectation")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The config in the weights' YAML."""

    mmt: MmtConfig = field(default_factory=MmtConfig)
    latent: LatentConfig = field(default_factory=LatentConfig)
    style: StyleConfig = field(default_factory=StyleConfig)
    sampling: ChunkSampling = field(default_factory=ChunkSampling)


class Latent(nn.Module):
    """The diffusion of a listener's latents, conditioned on z_bc of the speaker.

    With `MmtConfig.listener`: p(listener's latents | z_bc of the speaker), which has as many outcomes as there are
    listeners. Without, our reading of the paper: x_0 is the encoder's output for the speaker, and z_bc is computed from
    the same x_0. Then the diffusion learns to reconstruct x_0 from a summary of it, and samples differ only by what the
    summary omits and by the network's error: a well trained one has little diversity.
    """

    mean: Tensor
    deviation: Tensor
    speaker_mean: Tensor
    speaker_deviation: Tensor

    def __init__(self, config: LatentConfig, mmt: MmtConfig) -> None:
        super().__init__()
        self.config = config
        self.width = mmt.listener or mmt.latent
        expects = config.speaker == "expectation"
        speaker = FACE_MODEL + ATTRIBUTES if expects else mmt.latent
        self.window, self.every = mmt.window, _EVERY if expects else 1
        for name, width in (("", self.width), ("speaker_", speaker)):
            self.register_buffer(f"{name}mean", torch.zeros(width))
            self.register_buffer(f"{name}deviation", torch.ones(width))
        self.diffusion = Diffusion(config.diffusion)
        self.denoiser = Denoiser(
            config.denoiser, mmt.window, self.width, speaker, config.diffusion.steps, every=self.every
        )

    def told(self, decoder: Decoder, x0: Tensor, before: Tensor | None = None) -> Tensor:
        """The speaker's latents (B, T, latent), after `before` (B, T', latent), to what z_bc is computed from.

        (B, T, latent), or (B, T, 83) the reaction that is expected of them.
        """
        if self.config.speaker == "latents":
            return x0
        face, emotion = decoder(x0) if before is None else decoder.after(before, x0)
        return torch.cat([face, emotion], dim=-1)

    def fit(self, x0: Tensor, speaker: Tensor) -> None:
        """Set means and deviations from the diffused latents (N, width) and what is told of speakers (M, told)."""
        self.mean.copy_(x0.mean(0))
        self.deviation.copy_(x0.std(0).clamp_min(_LEAST_DEVIATION))
        self.speaker_mean.copy_(speaker.mean(0))
        self.speaker_deviation.copy_(speaker.std(0).clamp_min(_LEAST_DEVIATION))

    def standard(self, x0: Tensor) -> Tensor:
        """(…, width) diffused latents to mean 0 and standard deviation 1 / scale."""
        return (x0 - self.mean) / (self.config.scale * self.deviation)

    def constraint(self, speaker: Tensor) -> Tensor:
        """z_bc (B, constraint) of windows of what is `told` of the speaker (B, window, told)."""
        speaker = speaker.flip(1)[:, :: self.every].flip(1) if self.every > 1 else speaker
        return self.denoiser.constraint((speaker - self.speaker_mean) / self.speaker_deviation)

    def sample(
        self,
        speaker: Tensor,
        noise: Tensor,
        *,
        steps: int | None,
        eta: float,
        fresh: Tensor | None,
        guidance: float = 1.0,
        denoiser: Denoiser | FastDenoiser | None = None,
    ) -> Tensor:
        """What is `told` of the speaker's windows (P, window, told) and noise (P, S, window, width) to latents.

        Of the noise's shape.

        fresh: (steps, P, S, window, width) for eta > 0. guidance: classifier-free, for weights that were trained with
        masked speakers. denoiser: a faster one with the same weights.
        """
        samples = noise.shape[1]
        z_bc = self.constraint(speaker).repeat_interleave(samples, dim=0)
        if guidance != 1.0:
            z_bc = torch.cat([z_bc, torch.zeros_like(z_bc)])
        latents = self.diffusion.sample(
            (denoiser or self.denoiser).given(z_bc), noise.flatten(0, 1), steps=steps, eta=eta,
            fresh=None if fresh is None else fresh.flatten(1, 2), clip=BOUND / self.config.scale,
            guidance=guidance,
        )  # fmt: skip
        return (latents * (self.config.scale * self.deviation) + self.mean).unflatten(0, (-1, samples))


class Networks(nn.Module):
    """All networks in the weights."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.mmt = Mmt(config.mmt)
        self.latent = Latent(config.latent, config.mmt)
        self.personal = Personal(config.style, self.movable())

    def movable(self) -> list[nn.Linear]:
        """The layers that a style edits: of the denoiser where it samples listener latents, else of the decoder."""
        return (self.latent.denoiser if self.config.mmt.listener else self.mmt.decoder).linears()
