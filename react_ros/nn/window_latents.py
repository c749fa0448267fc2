"""Windows of a listener as one latent vector: recurrent encoder and decoder, and a diffusion of the latents.

There are two kinds of weights. Those of the papers encode the listener's 25 attributes, decode the face from them, and
are told the speaker's 25 attributes. The others encode the listener's face as well, head and eyelids included, and are
told what is expected of the speaker's face and sound (`ConditionConfig`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from react_ros.config import in_range, whole_in_range
from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, FACE_MODEL, ROTATION_58, VA
from react_ros.nn.denoisers import DenoiserConfig, SkipDenoiser
from react_ros.nn.diffusion import Diffusion, DiffusionConfig
from react_ros.nn.face_units import face_units
from react_ros.nn.speaker_encoder import Columns, Expectation, SpeakerEncoder

_SHAPE_UNIT = 0.25
"""Scale of blendshapes at the encoder's input."""


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
    content: Literal["attributes", "reaction"] = "attributes"
    """What of the listener is encoded. attributes: 25, from which the face is regressed, without blinks, gaze and head
    motion, as in the papers. reaction: the face model too, 83 in all."""
    segments: int = 1
    """Parts of a window, each with a share of the latent of its own. With more than 1, windows that overlap by whole
    segments may share their noise there, and so agree on when the head moves."""

    def __post_init__(self) -> None:
        if self.cell not in ("lstm", "gru"):
            raise ValueError(f"cell is {self.cell!r}: it must be lstm or gru")
        whole_in_range("layers", self.layers, 1, 8)
        whole_in_range("width", self.width, 4, 4096)
        whole_in_range("frames", self.frames, 2, 1000)
        whole_in_range("latent", self.latent, 2, 4096)
        whole_in_range("narrow", self.narrow, 1, 1024)
        whole_in_range("regressor", self.regressor, 4, 4096)
        if self.content not in ("attributes", "reaction"):
            raise ValueError(f"content is {self.content!r}: it must be attributes or reaction")
        whole_in_range("segments", self.segments, 1, 1000)
        if self.frames % self.segments or self.latent % self.segments:
            raise ValueError(
                f"segments is {self.segments}: the window's {self.frames} frames and the latent's {self.latent} "
                "dimensions must be multiples of it"
            )

    @property
    def width_in(self) -> int:
        """Width of an encoded frame: 25, or 83, the 58 of the face model first."""
        return ATTRIBUTES if self.content == "attributes" else FACE_MODEL + ATTRIBUTES


@dataclass(frozen=True, slots=True)
class ConditionConfig:
    """What the diffusion is told of the speaker. Raises ValueError for an impossible value."""

    inputs: Literal["attributes", "person"] = "attributes"
    """attributes: the speaker's window of 25 attributes, encoded by the listener's encoder, as in the papers. person:
    face and sound relative to the person (rows `PERSON`), by an encoder of their own that was trained to regress the
    mean reaction; the diffusion is told these expected reactions only, which leaves no room for particulars of the
    training speakers."""
    width: int = 128
    """Width of that encoder, as the following."""
    layers: int = 1
    dropout: float = 0.1
    every: int = 5
    """The diffusion is told of every so many frames of the window, the newest one included."""
    told: int = 128
    """Width of the condition."""

    def __post_init__(self) -> None:
        if self.inputs not in ("attributes", "person"):
            raise ValueError(f"inputs is {self.inputs!r}: it must be attributes or person")
        whole_in_range("width", self.width, 4, 4096)
        whole_in_range("layers", self.layers, 1, 8)
        in_range("dropout", self.dropout, 0.0, 0.9)
        whole_in_range("every", self.every, 1, 1000, "frames")
        whole_in_range("told", self.told, 1, 4096)

    def expect_window(self, window: WindowConfig) -> None:
        """Raise ValueError where an encoder of these windows cannot encode this condition."""
        if self.inputs == "attributes" and window.content != "attributes":
            raise ValueError(
                f"the condition is the speaker's attributes, but windows have the content {window.content}: the "
                "condition must be person, or the content attributes"
            )


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
    """(N, W, 25 or 83) windows to (N, vectors x latent).

    The papers leave open how the states of W frames become one vector. Here each frame's state and the frame itself are
    projected to `narrow` numbers, and the concatenation of a segment's frames to its share of the output. Without the
    skip connection past the recurrent cells, here and in the decoder, hundreds of training steps only learn the mean.
    """

    units: Tensor

    def __init__(self, config: WindowConfig, vectors: int = 1) -> None:
        """vectors: number of vectors of the latent's width."""
        super().__init__()
        self.config, self.vectors = config, vectors
        self.cells = _cells(config, config.width_in)
        self.narrow = nn.Linear(config.width + config.width_in, config.narrow)
        share = config.latent // config.segments
        self.out = nn.Linear(config.frames // config.segments * config.narrow, vectors * share)
        units = torch.ones(config.width_in)
        if config.content == "reaction":
            units[:FACE_MODEL] = face_units()
            units[: ROTATION_58.start] = _SHAPE_UNIT
        self.register_buffer("units", units, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        frames = frames / self.units
        states = torch.cat([self.cells(frames)[0], frames], dim=-1)
        parts = self.narrow(states).unflatten(1, (self.config.segments, -1)).flatten(2)
        out = self.out(parts).unflatten(-1, (self.vectors, -1))  # (N, segments, vectors, share)
        return out.transpose(1, 2).flatten(1)


class WindowDecoder(nn.Module):
    """(N, latent) to windows: recurrent cells decode the attributes, and a regressor the face model from these.

    Where the content is a reaction, the cells decode the face model too.
    """

    units: Tensor

    def __init__(self, config: WindowConfig) -> None:
        super().__init__()
        self.frames, self.segments = config.frames, config.segments
        parts = config.segments
        self.spread = nn.Linear(config.latent // parts, config.frames // parts * config.narrow)
        self.cells = _cells(config, config.narrow)
        self.attributes = nn.Linear(config.width + config.narrow, ATTRIBUTES)
        self.regressor: nn.Module | None = None
        if config.content == "reaction":
            self.face = nn.Linear(config.width + config.narrow, FACE_MODEL)
        else:
            self.regressor = nn.Sequential(
                nn.Linear(ATTRIBUTES, config.regressor), nn.SiLU(), nn.Linear(config.regressor, FACE_MODEL)
            )
        self.register_buffer("units", face_units(), persistent=False)

    def forward(self, latent: Tensor) -> DecodedWindows:
        frames = self.spread(latent.unflatten(1, (self.segments, -1))).flatten(1).unflatten(1, (self.frames, -1))
        states = torch.cat([self.cells(frames)[0], frames], dim=-1)
        x = self.attributes(states)
        attributes = torch.cat([x[..., AU].sigmoid(), x[..., VA].tanh(), x[..., EXPRESSIONS].softmax(-1)], dim=-1)
        face = self.face(states) if self.regressor is None else self.regressor(attributes)
        return DecodedWindows(attributes, face * self.units)


class Autoencoder(nn.Module):
    """The first training stage: windows of listeners to latents and back."""

    window: WindowConfig

    def encode(self, frames: Tensor) -> Tensor:
        """(N, W, 25 or 83), see `WindowConfig.content`, to continuous latents (N, D), deterministic."""
        raise NotImplementedError

    def decode(self, latent: Tensor, quantize: bool = True) -> DecodedWindows:
        """Latents (N, D) to windows. quantize: use the nearest codes, where the autoencoder has codes."""
        raise NotImplementedError


class LatentScale(nn.Module):
    """Latents to [-1, 1], each dimension by its range over the training windows."""

    low: Tensor
    high: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("low", -torch.ones(latent))
        self.register_buffer("high", torch.ones(latent))

    def fit(self, latents: Tensor, *, trimmed: bool = False) -> None:
        """Take the ranges of all training windows' latents (N, D).

        trimmed: from the 0.2nd to the 99.8th percentile instead of minimum to maximum. What a latent says by less than
        the noise of the lowest level is averaged away: single outliers must not make everything else small.
        """
        if trimmed:
            ordered = latents.sort(0).values
            edge = int(0.002 * len(latents))
            low, high = ordered[edge], ordered[len(latents) - 1 - edge]
        else:
            low, high = latents.amin(0), latents.amax(0)
        self.low.copy_(low)
        self.high.copy_(high)

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


class Person(nn.Module):
    """The speaker's rows to the reaction that is expected, and windows of this to the condition."""

    def __init__(self, config: ConditionConfig, columns: Columns, frames: int) -> None:
        """columns: of the rows. frames: of a window."""
        super().__init__()
        self.config = config
        self.encoder = SpeakerEncoder(columns, config.width, config.layers, config.dropout)
        self.expectation = Expectation(config.width, activity=True)
        self.width = self.expectation.outputs
        self.tell = nn.Linear(len(range(0, frames, config.every)) * self.width, config.told)

    def expected(self, rows: Tensor) -> Tensor:
        """(B, T, inputs) rows of speakers from a first frame on to (B, T, 85), each of the rows up to it."""
        return self.expectation.reaction(self.encoder(rows))

    def step(self, row: Tensor, state: Tensor) -> Tensor:
        """(1, inputs) of the next frame to (1, 85); `state`, of `encoder.start`, is changed in place."""
        return self.expectation.reaction(self.encoder.step(row, state))

    def forward(self, windows: Tensor) -> Tensor:
        """(N, W, 85), 0 where there is no speaker, to (N, told)."""
        return self.tell(windows.flip(1)[:, :: self.config.every].flatten(1))


class LatentListener(nn.Module):
    """All networks in a system's weights: the autoencoder, and a diffusion of the listener's latents.

    The condition is the speaker's window: of attributes, encoded by the same encoder as listeners (VQ-Diff, section
    II-B), or of expected reactions (`Person`).
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        denoiser: DenoiserConfig,
        diffusion: DiffusionConfig,
        condition: ConditionConfig | None = None,
        columns: Columns | None = None,
    ) -> None:
        """columns: of the rows of `condition.inputs`, where these are not attributes. Raises ValueError."""
        super().__init__()
        condition = condition or ConditionConfig()
        condition.expect_window(autoencoder.window)
        self.autoencoder = autoencoder
        width = autoencoder.window.latent
        self.scale = LatentScale(width)
        self.person = None
        if condition.inputs != "attributes":
            assert columns is not None
            self.person = Person(condition, columns, autoencoder.window.frames)
        self.denoiser = SkipDenoiser(denoiser, width, width if self.person is None else condition.told)
        self.diffusion = Diffusion(diffusion)

    @property
    def speaker_width(self) -> int:
        """Width of a frame of the speaker: 25 attributes, or 85 of the expected reaction."""
        return ATTRIBUTES if self.person is None else self.person.width

    def condition(self, windows: Tensor) -> Tensor:
        """(N, W, speaker_width) of speakers to conditions (N, C)."""
        return self.latents(windows) if self.person is None else self.person(windows)

    def latents(self, frames: Tensor) -> Tensor:
        """(N, W, 25 or 83) of a listener, or of a speaker's attributes, to latents (N, D) on the diffusion's scale."""
        return self.scale(self.autoencoder.encode(frames))

    def decode(self, scaled: Tensor, quantize: bool = True) -> DecodedWindows:
        """Latents (N, D) on that scale to windows."""
        return self.autoencoder.decode(self.scale.inverse(scaled), quantize)

    def sample(self, windows: Tensor, noise: Tensor, sampling: LatentSampling) -> DecodedWindows:
        """Windows (P, W, speaker_width) of speakers and noise (P, S, 1 or 1 + steps, D) to P x S listeners' windows.

        Along the noise's third axis, the first is the start of denoising; the others are the fresh noise of each step,
        for eta > 0.
        """
        samples = noise.shape[1]
        condition = self.condition(windows).repeat_interleave(samples, 0)
        noise = noise.flatten(0, 1).transpose(0, 1)  # (1 or more, P * S, D)

        if sampling.guidance != 1.0:
            unconditional = self.condition(torch.zeros_like(windows[:1])).expand_as(condition)
            condition = torch.cat([condition, unconditional])

        def network(noisy: Tensor, level: Tensor) -> Tensor:
            return self.denoiser(noisy, level, condition)

        scaled = self.diffusion.sample(
            network, noise[0], steps=sampling.steps, eta=sampling.eta, fresh=noise[1:] if sampling.eta > 0.0 else None,
            guidance=sampling.guidance, clip=1.0,
        )  # fmt: skip
        return self.decode(scaled, sampling.quantize)
