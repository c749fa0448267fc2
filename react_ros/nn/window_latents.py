"""A window of a face as one latent vector: what VQ-Diff and BeLFusion share, whatever lies between the two halves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from react_ros.config import whole_in_range
from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, FACE_MODEL, ROTATION_58, TRANSLATION_58, VA
from react_ros.nn.denoisers import DenoiserConfig, SkipDenoiser
from react_ros.nn.diffusion import Diffusion, DiffusionConfig

ROTATION_UNIT, TRANSLATION_UNIT = 0.05, 0.004
"""rad and m: about what a listener's head does. The regressor counts in these."""


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """Sizes of both halves, and of the window. Raises ValueError for an impossible value."""

    cell: Literal["lstm", "gru"] = "lstm"
    layers: int = 2
    width: int = 64
    frames: int = 50
    """Of a window: w."""
    latent: int = 128
    """Numbers in a latent: D."""
    narrow: int = 32
    """Numbers of each frame that meet in the latent, and come out of it again."""
    regressor: int = 128
    """Width of the perceptron from attributes to the face model."""

    def __post_init__(self) -> None:
        if self.cell not in ("lstm", "gru"):
            raise ValueError(f"cell is {self.cell!r}: it must be lstm or gru")
        whole_in_range("layers", self.layers, 1, 8)
        whole_in_range("width", self.width, 4, 4096)
        whole_in_range("frames", self.frames, 2, 1000)
        whole_in_range("latent", self.latent, 2, 4096)
        whole_in_range("narrow", self.narrow, 1, 1024)
        whole_in_range("regressor", self.regressor, 4, 4096)


class Shown(NamedTuple):
    """What latents say, of N windows."""

    attributes: Tensor
    """(N, W, 25): action units 0 to 1, valence and arousal -1 to 1, expressions that sum to 1."""
    face: Tensor
    """(N, W, 58) blendshapes, rad, m; not clipped."""


def _cells(config: WindowConfig, inputs: int) -> nn.Module:
    kind = nn.LSTM if config.cell == "lstm" else nn.GRU
    return kind(inputs, config.width, config.layers, batch_first=True)


class WindowEncoder(nn.Module):
    """(N, W, 25) attributes to (N, outputs).

    The papers leave open how the states of W frames become one vector: here each state, and the frame itself, is
    narrowed, and all of them, side by side, are projected. Without the frames themselves, here and in the decoder,
    hundreds of steps teach nothing but the mean.
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
    """(N, latent) to what is shown: recurrent cells give the attributes, and a regressor reads the face off these."""

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
        units = torch.ones(FACE_MODEL)
        units[ROTATION_58], units[TRANSLATION_58] = ROTATION_UNIT, TRANSLATION_UNIT
        self.register_buffer("units", units, persistent=False)

    def forward(self, latent: Tensor) -> Shown:
        frames = self.spread(latent).unflatten(1, (self.frames, -1))
        x = self.attributes(torch.cat([self.cells(frames)[0], frames], dim=-1))
        attributes = torch.cat([x[..., AU].sigmoid(), x[..., VA].tanh(), x[..., EXPRESSIONS].softmax(-1)], dim=-1)
        return Shown(attributes, self.regressor(attributes) * self.units)


class Autoencoder(nn.Module):
    """What stage one learns: windows of attributes to latents and back."""

    window: WindowConfig

    def encode(self, attributes: Tensor) -> Tensor:
        """(N, W, 25) to continuous latents (N, D), without chance."""
        raise NotImplementedError

    def decode(self, latent: Tensor, quantize: bool = True) -> Shown:
        """Latents (N, D) to windows. quantize: by the nearest codes, where the autoencoder has codes."""
        raise NotImplementedError


class LatentScale(nn.Module):
    """Latents to [-1, 1], number by number, by the least and largest of the training windows."""

    low: Tensor
    high: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("low", -torch.ones(latent))
        self.register_buffer("high", torch.ones(latent))

    def fit(self, latents: Tensor) -> None:
        """latents: (N, D) of all training windows."""
        self.low.copy_(latents.amin(0))
        self.high.copy_(latents.amax(0))

    def forward(self, latent: Tensor) -> Tensor:
        """(N, D) to the scale of the diffusion."""
        return (latent - self.low) / self._half - 1.0

    def back(self, scaled: Tensor) -> Tensor:
        """The inverse."""
        return (scaled + 1.0) * self._half + self.low

    @property
    def _half(self) -> Tensor:
        # A number that never varied must not be divided by 0.
        return ((self.high - self.low) / 2.0).clamp_min(1e-4)


class LatentSampling(NamedTuple):
    """How latents are drawn."""

    steps: int
    eta: float = 0.0
    guidance: float = 1.0
    quantize: bool = True


class LatentListener(nn.Module):
    """All that the weights of a system hold: the autoencoder, and a diffusion of the listener's latents.

    The condition is the speaker's window through the very encoder that reads listeners (VQ-Diff, section II-B).
    """

    def __init__(self, autoencoder: Autoencoder, denoiser: DenoiserConfig, diffusion: DiffusionConfig) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        width = autoencoder.window.latent
        self.scale = LatentScale(width)
        self.denoiser = SkipDenoiser(denoiser, width, width)
        self.diffusion = Diffusion(diffusion)

    def latents(self, attributes: Tensor) -> Tensor:
        """(N, W, 25) of a speaker or a listener to (N, D), on the scale of the diffusion."""
        return self.scale(self.autoencoder.encode(attributes))

    def decode(self, scaled: Tensor, quantize: bool = True) -> Shown:
        """Latents (N, D) on that scale to what is shown."""
        return self.autoencoder.decode(self.scale.back(scaled), quantize)

    def draw(self, windows: Tensor, noise: Tensor, how: LatentSampling) -> Shown:
        """Windows (P, W, 25) of speakers and noise (P, S, 1 or more, D) to what P x S listeners show.

        Of the noise, the first along the third axis is where denoising begins; the others are fresh ones of each step,
        where eta is above 0.
        """
        samples = noise.shape[1]
        condition = self.latents(windows).repeat_interleave(samples, 0)
        noise = noise.flatten(0, 1).transpose(0, 1)  # (1 or more, P * S, D)

        if how.guidance != 1.0:
            unknown = self.latents(torch.zeros_like(windows[:1])).expand_as(condition)
            condition = torch.cat([condition, unknown])

        def network(noisy: Tensor, level: Tensor) -> Tensor:
            return self.denoiser(noisy, level, condition)

        scaled = self.diffusion.sample(
            network, noise[0], steps=how.steps, eta=how.eta, fresh=noise[1:] if how.eta > 0.0 else None,
            guidance=how.guidance, clip=1.0,
        )  # fmt: skip
        return self.decode(scaled, how.quantize)
