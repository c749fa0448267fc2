"""Windows of a face as one latent vector: recurrent encoder and decoder, and a diffusion of the latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from react_ros.config import whole_in_range
from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, FACE_MODEL, VA
from react_ros.nn.denoisers import DenoiserConfig, SkipDenoiser
from react_ros.nn.diffusion import Diffusion, DiffusionConfig
from react_ros.nn.face_units import face_units


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """Sizes of encoder, decoder and window. Raises ValueError for an impossible value."""

    cell: Literal["lstm", "gru"] = "lstm"
    layers: int = 2
    width: int = 64
    frames: int = 50
    """w, frames of a window."""
    latent: int = 128
    """D, width of a latent."""
    narrow: int = 32
    """Width of each frame where the frames of a window are concatenated, in the encoder and in the decoder."""
    regressor: int = 128
    """Hidden width of the perceptron from attributes to the face model."""

    def __post_init__(self) -> None:
        if self.cell not in ("lstm", "gru"):
            raise ValueError(f"cell is {self.cell!r}: it must be lstm or gru")
        whole_in_range("layers", self.layers, 1, 8)
        whole_in_range("width", self.width, 4, 4096)
        whole_in_range("frames", self.frames, 2, 1000)
        whole_in_range("latent", self.latent, 2, 4096)
        whole_in_range("narrow", self.narrow, 1, 1024)
        whole_in_range("regressor", self.regressor, 4, 4096)


class DecodedWindows(NamedTuple):
    """N decoded windows."""

    attributes: Tensor
    """(N, W, 25): action units 0 to 1, valence and arousal -1 to 1, expressions that sum to 1."""
    face: Tensor
    """(N, W, 58) blendshapes, rad, m; not clipped."""


def _cells(config: WindowConfig, inputs: int) -> nn.Module:
    kind = nn.LSTM if config.cell == "lstm" else nn.GRU
    return kind(inputs, config.width, config.layers, batch_first=True)


class WindowEncoder(nn.Module):
    """(N, W, 25) attributes to (N, outputs).

    The papers leave open how the states of W frames become one vector. Here each frame's state and attributes are
    projected to `narrow` numbers, and the concatenation of all frames to the output. Without the skip connection past
    the recurrent cells, here and in the decoder, hundreds of training steps only learn the mean.
    """

    def __init__(self, config: WindowConfig, outputs: int) -> None:
        super().__init__()
        self.cells = _cells(config, ATTRIBUTES)
        self.narrow = nn.Linear(config.width + ATTRIBUTES, config.narrow)
        self.out = nn.Linear(config.frames * config.narrow, outputs)

    def forward(self, attributes: Tensor) -> Tensor:
        states = torch.cat([self.cells(attributes)[0], attributes], dim=-1)
        return self.out(self.narrow(states).flatten(1))


class WindowDecoder(nn.Module):
    """(N, latent) to windows: recurrent cells decode the attributes, and a regressor the face model from these."""

    units: Tensor

    def __init__(self, config: WindowConfig) -> None:
        super().__init__()
        self.frames = config.frames
        self.spread = nn.Linear(config.latent, config.frames * config.narrow)
        self.cells = _cells(config, config.narrow)
        self.attributes = nn.Linear(config.width + config.narrow, ATTRIBUTES)
        self.regressor = nn.Sequential(
            nn.Linear(ATTRIBUTES, config.regressor), nn.SiLU(), nn.Linear(config.regressor, FACE_MODEL)
        )
        self.register_buffer("units", face_units(), persistent=False)

    def forward(self, latent: Tensor) -> DecodedWindows:
        frames = self.spread(latent).unflatten(1, (self.frames, -1))
        x = self.attributes(torch.cat([self.cells(frames)[0], frames], dim=-1))
        attributes = torch.cat([x[..., AU].sigmoid(), x[..., VA].tanh(), x[..., EXPRESSIONS].softmax(-1)], dim=-1)
        return DecodedWindows(attributes, self.regressor(attributes) * self.units)


class Autoencoder(nn.Module):
    """The first training stage: windows of attributes to latents and back."""

    window: WindowConfig

    def encode(self, attributes: Tensor) -> Tensor:
        """(N, W, 25) to continuous latents (N, D), deterministic."""
        raise NotImplementedError

    def decode(self, latent: Tensor, quantize: bool = True) -> DecodedWindows:
        """Latents (N, D) to windows. quantize: use the nearest codes, where the autoencoder has codes."""
        raise NotImplementedError


class LatentScale(nn.Module):
    """Latents to [-1, 1], each dimension by its minimum and maximum over the training windows."""

    low: Tensor
    high: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("low", -torch.ones(latent))
        self.register_buffer("high", torch.ones(latent))

    def fit(self, latents: Tensor) -> None:
        """Take the ranges of all training windows' latents (N, D)."""
        self.low.copy_(latents.amin(0))
        self.high.copy_(latents.amax(0))

    def forward(self, latent: Tensor) -> Tensor:
        """(N, D) to the scale of the diffusion."""
        return (latent - self.low) / self._half - 1.0

    def inverse(self, scaled: Tensor) -> Tensor:
        """(N, D) on the scale of the diffusion to latents."""
        return (scaled + 1.0) * self._half + self.low

    @property
    def _half(self) -> Tensor:
        # No division by 0 for a dimension that never varied.
        return ((self.high - self.low) / 2.0).clamp_min(1e-4)


class LatentSampling(NamedTuple):
    """How latents are sampled; see `Diffusion.sample`."""

    steps: int
    eta: float = 0.0
    guidance: float = 1.0
    quantize: bool = True


class LatentListener(nn.Module):
    """All networks in a system's weights: the autoencoder, and a diffusion of the listener's latents.

    The condition is the speaker's window, encoded by the same encoder as listeners (VQ-Diff, section II-B).
    """

    def __init__(self, autoencoder: Autoencoder, denoiser: DenoiserConfig, diffusion: DiffusionConfig) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        width = autoencoder.window.latent
        self.scale = LatentScale(width)
        self.denoiser = SkipDenoiser(denoiser, width, width)
        self.diffusion = Diffusion(diffusion)

    def latents(self, attributes: Tensor) -> Tensor:
        """(N, W, 25) of a speaker or a listener to latents (N, D) on the scale of the diffusion."""
        return self.scale(self.autoencoder.encode(attributes))

    def decode(self, scaled: Tensor, quantize: bool = True) -> DecodedWindows:
        """Latents (N, D) on that scale to windows."""
        return self.autoencoder.decode(self.scale.inverse(scaled), quantize)

    def sample(self, windows: Tensor, noise: Tensor, sampling: LatentSampling) -> DecodedWindows:
        """Windows (P, W, 25) of speakers and noise (P, S, 1 or 1 + steps, D) to P x S listeners' windows.

        Along the noise's third axis, the first is the start of denoising; the others are the fresh noise of each step,
        for eta > 0.
        """
        samples = noise.shape[1]
        condition = self.latents(windows).repeat_interleave(samples, 0)
        noise = noise.flatten(0, 1).transpose(0, 1)  # (1 or more, P * S, D)

        if sampling.guidance != 1.0:
            unconditional = self.latents(torch.zeros_like(windows[:1])).expand_as(condition)
            condition = torch.cat([condition, unconditional])

        def network(noisy: Tensor, level: Tensor) -> Tensor:
            return self.denoiser(noisy, level, condition)

        scaled = self.diffusion.sample(
            network, noise[0], steps=sampling.steps, eta=sampling.eta, fresh=noise[1:] if sampling.eta > 0.0 else None,
            guidance=sampling.guidance, clip=1.0,
        )  # fmt: skip
        return self.decode(scaled, sampling.quantize)
