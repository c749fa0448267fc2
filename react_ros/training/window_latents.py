"""Base stages for systems that diffuse the latents of an autoencoder of windows: window pairs, losses, both stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from react_ros.config import config_to, in_range
from react_ros.face import ARKIT, ATTRIBUTES, AU, EXPRESSIONS, FACE_MODEL, ROTATION_58, TRANSLATION_58, VA
from react_ros.generators.chunked import ChunkSampling
from react_ros.generators.latent_chunks import columns_of
from react_ros.nn.denoisers import DenoiserConfig
from react_ros.nn.diffusion import DiffusionConfig
from react_ros.nn.face_units import ROTATION_UNIT, TRANSLATION_UNIT
from react_ros.nn.speaker_encoder import Expectation, SpeakerEncoder
from react_ros.nn.window_latents import (
    Autoencoder,
    ConditionConfig,
    DecodedWindows,
    LatentListener,
    LatentSampling,
    WindowConfig,
)
from react_ros.training.data import Batch, Clips
from react_ros.training.expectation import expectation_losses
from react_ros.training.speaker_augmentation import Dropouts, Variation, statistics, varied, without_modalities
from react_ros.training.training_stage import FinishedStage, TrainingStage

Protocol = Literal["online", "offline"]
_MOTION = 3.0
"""Weight of the error of the frame-to-frame difference, relative to that of the frame."""

_FACE_UNITS = torch.ones(FACE_MODEL)
_FACE_UNITS[ROTATION_58], _FACE_UNITS[TRANSLATION_58] = 5.0 * ROTATION_UNIT, 10.0 * TRANSLATION_UNIT
_MOVED_UNITS = torch.ones(FACE_MODEL)
_MOVED_UNITS[ROTATION_58], _MOVED_UNITS[TRANSLATION_58] = 0.8 * ROTATION_UNIT, 5.0 * TRANSLATION_UNIT
_MOVED_UNITS[[i for i, name in enumerate(ARKIT) if name.startswith("eyeBlink")]] = 0.4
_SHOWN_CLIPS = 40
"""Validation clips from which the model card's figures are computed."""


class Pairs(NamedTuple):
    """N windows of W frames of listeners, each with the speaker's window that it answers."""

    speaker: Tensor
    """(N, W, speaker_width), attributes or expected reactions; 0 before the first window of a clip."""
    attributes: Tensor
    """(N, W, 25) of the listener."""
    face: Tensor
    """(N, W, 58) of the listener."""
    whole: Tensor
    """(N,) float, 1 where the listener's clip fills the window, else 0."""
    known: Tensor
    """(N,) bool; False where the speaker's window lies in the clip, but before the crop."""

    def content(self, window: WindowConfig) -> Tensor:
        """(N, W, 25 or 83) what an autoencoder of these windows encodes."""
        return self.attributes if window.content == "attributes" else torch.cat([self.face, self.attributes], dim=-1)

    def of(self, kept: Tensor) -> Pairs:
        """The windows that are True in `kept` (N,)."""
        return Pairs(*(x[kept] for x in self))


def pairs(batch: Batch, frames: int, protocol: Protocol, speaker: Tensor | None = None) -> Pairs:
    """The crops of a batch cut into windows of `frames`, in order; frames that do not fill a last window are dropped.

    speaker: (B, T, width) what is told of the speakers; None: their attributes. protocol: online pairs a listener's
    window with the speaker's previous window, and the first of a clip with an empty one (Nguyen et al. 2024, section
    II-A); offline with the same window. Raises ValueError for crops shorter than a window.
    """
    length = batch.valid.shape[1]
    count = length // frames
    if not count:
        raise ValueError(f"crop is {length} frames: it must be at least a window, {frames} frames")

    def cut(x: Tensor) -> Tensor:
        return x[:, : count * frames].unflatten(1, (count, frames))

    speaker = cut(batch.speaker_attributes if speaker is None else speaker)
    known = torch.ones_like(batch.valid[:, :count])
    if protocol == "online":
        speaker = torch.cat([torch.zeros_like(speaker[:, :1]), speaker[:, :-1]], dim=1)
        known[:, 0] = batch.start == 0
    whole = cut(batch.valid).all(2)
    attributes, face = cut(batch.attributes).flatten(0, 1), cut(batch.face_model).flatten(0, 1)
    return Pairs(speaker.flatten(0, 1), attributes, face, whole.float().flatten(), known.flatten())


def over(error: Tensor, weight: Tensor) -> Tensor:
    """() mean of (N, …) over windows, weighted by (N,), and over all further axes."""
    return (error.flatten(1).mean(1) * weight).sum() / weight.sum().clamp_min(1.0)


def errors(shown: DecodedWindows, real: Pairs, window: WindowConfig) -> dict[str, Tensor]:
    """Mean squared errors of the 25 attributes, and of the 58 coefficients scaled to a listener's usual motion.

    Where windows hold whole reactions, head and eyelids count for more, and the frame-to-frame differences of the face
    are an error of their own: a nod and a blink are small and short.
    """
    whole = window.content == "reaction"
    face = (shown.face - real.face) / (_MOVED_UNITS if whole else _FACE_UNITS).to(real.face)
    found = {
        "attributes": over((shown.attributes - real.attributes).square(), real.whole),
        "face": over(face.square(), real.whole),
    }
    return {**found, "motion": over(face.diff(dim=1).square(), real.whole)} if whole else found


def clip_windows(clips: Clips, frames: int, device: torch.device, most: int = 0) -> Iterator[Batch]:
    """Batches of up to 20 clips, from their first frame on, cut to whole windows of the longest.

    most: number of clips, evenly spread over all; 0: all. Clips shorter than a window are left out.
    """
    long = np.flatnonzero(clips.lengths >= frames)
    if most and len(long) > most:
        long = long[np.linspace(0, len(long) - 1, most).round().astype(np.int64)]
    for i in range(0, len(long), 20):
        part = long[i : i + 20]
        length = int(clips.lengths[part].max()) // frames * frames
        yield clips.batch(part, np.zeros_like(part), length).to(device)


class ErrorSums:
    """Sums of squared errors of attributes, and of whole reactions' faces, over batches."""

    def __init__(self) -> None:
        self._sums, self._count = torch.zeros(FACE_MODEL + ATTRIBUTES, dtype=torch.float64), 0
        self._faces = False

    def add(self, error: Tensor) -> None:
        """error: (…, 25), or (…, 83) with the face model first."""
        flat = error.detach().double().cpu().flatten(0, -2)
        self._sums[-flat.shape[1] :] += flat.square().sum(0)
        self._faces = flat.shape[1] > ATTRIBUTES
        self._count += len(flat)

    def figures(self, what: str) -> dict[str, float]:
        """Root mean square errors of action units, affect and expressions, named "{what} of …".

        Also of smile (weight), eyelids (weight) and head pitch (rad) of faces.
        """
        mean = self._sums / max(self._count, 1)
        parts = {"action units": AU, "affect": VA, "expressions": EXPRESSIONS}
        found = {f"{what} of {name}": float(mean[FACE_MODEL:][part].mean().sqrt()) for name, part in parts.items()}
        if self._faces:
            faces = {"smile": _columns("mouthSmile"), "eyelids": _columns("eyeBlink"), "pitch": [ROTATION_58.start]}
            found |= {f"{what} of {name}": float(mean[columns].mean().sqrt()) for name, columns in faces.items()}
        return found


def _columns(name: str) -> list[int]:
    return [i for i, shape in enumerate(ARKIT) if shape.startswith(name)]


def shown_content(shown: DecodedWindows, window: WindowConfig) -> Tensor:
    """(N, W, 25 or 83) what `Pairs.content` is compared with."""
    return shown.attributes if window.content == "attributes" else torch.cat([shown.face, shown.attributes], dim=-1)


@torch.no_grad()
def reconstruction(model: Autoencoder, clips: Clips) -> dict[str, float]:
    """RMSE of the validation windows, encoded and decoded by an autoencoder."""
    tally, frames = ErrorSums(), model.window.frames
    for batch in clip_windows(clips, frames, next(model.parameters()).device, _SHOWN_CLIPS):
        real = pairs(batch, frames, "offline")
        content = real.content(model.window)
        shown = shown_content(model.decode(model.encode(content)), model.window)
        tally.add((shown - content)[real.whole > 0.0])
    return tally.figures("RMSE")


@dataclass(frozen=True, slots=True)
class SpeakerDropout:
    """Augmentation: how often the speaker's face is missing, so that a lost face gives calm reactions, not wrong ones.

    Raises ValueError for an impossible value.
    """

    whole: float = 0.1
    """Probability that the speaker is missing in a whole window; classifier-free guidance needs it."""
    gap: float = 0.1
    """Probability that the speaker is missing in a part of a window."""

    def __post_init__(self) -> None:
        for name in ("whole", "gap"):
            in_range(name, getattr(self, name), 0.0, 1.0)


def drop_speaker(speaker: Tensor, dropout: SpeakerDropout, rng: torch.Generator) -> Tensor:
    """Windows (N, W, width) of speakers who are missing in some, in the encoding of `AttributeInputs`."""
    count, frames, _ = speaker.shape
    device = speaker.device
    whole, gap = torch.rand(2, count, 1, generator=rng, device=device)
    edges = torch.rand(2, count, 1, generator=rng, device=device).sort(dim=0).values * frames
    at = torch.arange(frames, device=device)
    missing = (whole < dropout.whole) | ((gap < dropout.gap) & (at >= edges[0]) & (at < edges[1]))
    return speaker.masked_fill(missing.unsqueeze(-1), 0.0)


@dataclass(frozen=True, slots=True)
class LatentDiffusionConfig:
    """The configuration of a `LatentDiffusionStage`. Raises ValueError for an impossible value."""

    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    protocol: Protocol = "online"
    """online: a listener's window answers the speaker's previous window; offline: the same. Stored with the weights."""
    blindness: SpeakerDropout = field(default_factory=SpeakerDropout)
    condition: ConditionConfig = field(default_factory=ConditionConfig)
    """What the diffusion is told of the speaker; must equal `model` of the encoder stage."""
    dropouts: Dropouts = field(default_factory=Dropouts)
    """Of the rows of `condition`, as in the encoder stage; attributes have `blindness` alone."""
    variation: Variation = field(default_factory=Variation)
    sampling: ChunkSampling = field(default_factory=ChunkSampling)
    """Stored with the weights."""


class Prediction(NamedTuple):
    """The denoiser's prediction from noisy latents of N windows."""

    predicted: Tensor
    """(N, D) noise, velocity or clean latent, as the diffusion is configured."""
    target: Tensor
    """(N, D) the true value of the same."""
    shown: DecodedWindows
    """The predicted clean latent, decoded without quantizing, so that gradients pass."""


class WindowAutoencoderStage(TrainingStage):
    """Base of stages that train an autoencoder of windows; a system adds its regularisation to the reconstruction."""

    stage = "autoencoder"
    needs = frozenset({"attributes", "face_model"})

    Model: ClassVar[type[Any]]
    """The `Autoencoder` subclass; built from the config's `model`."""

    def __init__(self, config: Any, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        self.model = self.Model(config.model)

    def reconstruction_loss(self, shown: DecodedWindows, real: Pairs) -> tuple[Tensor, dict[str, Tensor]]:
        """() the loss, and its parts for logging. Factor 25: log p(x | z) sums over the 25 attributes of a frame."""
        losses = errors(shown, real, self.model.window)
        parts = {name: error.detach() for name, error in losses.items()}
        total = 25.0 * losses["attributes"] + self.config.face * losses["face"]
        if "motion" in losses:
            total = total + _MOTION * self.config.face * losses["motion"]
        return total, parts


@dataclass(frozen=True, slots=True)
class EncoderStageConfig:
    """The configuration of a `SpeakerEncoderStage`. Raises ValueError for an impossible value."""

    model: ConditionConfig = field(default_factory=ConditionConfig)
    """With the speaker's attributes as condition there is no encoder to train, and the stage is left out."""
    dropouts: Dropouts = field(default_factory=Dropouts)
    variation: Variation = field(default_factory=Variation)


class SpeakerEncoderStage(TrainingStage):
    """Base of stages that train the speaker's encoder to regress the mean reaction; it is frozen afterwards."""

    stage = "encoder"
    Config = EncoderStageConfig
    needs = frozenset({"attributes", "face_model"})

    def __init__(self, config: EncoderStageConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        columns = columns_of(config.model)
        assert columns is not None
        self.columns = columns
        self.encoder = SpeakerEncoder(columns, config.model.width, config.model.layers, config.model.dropout)
        self.expectation = Expectation(config.model.width, activity=True)

    @classmethod
    def applies(cls, config: EncoderStageConfig) -> bool:
        return columns_of(config.model) is not None

    @classmethod
    def inputs(cls, config: EncoderStageConfig) -> str | None:
        columns = columns_of(config.model)
        return None if columns is None else columns.name

    def prepare(self, clips: Clips) -> None:
        self.encoder.fit(*statistics(clips))

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        speaker = batch.speaker
        if self.training:
            speaker = varied(speaker, self.columns, self.config.variation, rng)
            speaker = without_modalities(speaker, self.columns, self.config.dropouts, rng)
        losses = expectation_losses(self.expectation, self.encoder(speaker), batch)
        return {"loss": losses.pop("expectation"), **{name: loss.detach() for name, loss in losses.items()}}


class LatentDiffusionStage(TrainingStage):
    """Base of stages that train a diffusion of a frozen autoencoder's latents; a system adds the loss."""

    stage = "diffusion"
    needs = frozenset({"attributes", "face_model"})

    First: ClassVar[type[TrainingStage]]
    """The class of the first stage, whose `model` is the autoencoder."""

    def __init__(self, config: LatentDiffusionConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        done = previous["autoencoder"]
        assert isinstance(done, FinishedStage)
        first: Any = self.First(done.config, {})
        first.load_state_dict(dict(done))
        self.config, self.columns = config, columns_of(config.condition)
        self.sizes, self.networks = self.assemble(first.model, done.config.model)
        self.window = self.networks.autoencoder.window
        self.frames = self.window.frames
        self.networks.autoencoder.requires_grad_(False)
        if self.networks.person is not None:
            encoded = previous["encoder"]
            assert isinstance(encoded, FinishedStage)
            for name in ("encoder", "expectation"):
                part = getattr(self.networks.person, name).requires_grad_(False)
                part.load_state_dict(encoded.part(f"{name}."))

    @classmethod
    def inputs(cls, config: LatentDiffusionConfig) -> str | None:
        columns = columns_of(config.condition)
        return None if columns is None else columns.name

    @classmethod
    def expect_fit(cls, config: LatentDiffusionConfig, previous: Mapping[str, Any]) -> None:
        if previous["encoder"].model != config.condition:
            raise ValueError("stages.encoder.stage.model and stages.diffusion.stage.condition must be the same")
        model = previous["autoencoder"].model
        config.condition.expect_window(getattr(model, "window", model))

    def train(self, mode: bool = True) -> LatentDiffusionStage:
        super().train(mode)
        if self.networks.person is not None:
            self.networks.person.eval()
        return self

    def assemble(self, autoencoder: Any, sizes: Any) -> tuple[Any, LatentListener]:
        """The weights' configuration, and the networks around an autoencoder of these sizes."""
        raise NotImplementedError

    def weights(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        return self.networks.state_dict(), config_to(self.sizes)

    @torch.no_grad()
    def prepare(self, clips: Clips) -> None:
        found = []
        for batch in clip_windows(clips, self.frames, self.networks.scale.low.device):
            real = pairs(batch, self.frames, "offline")
            found.append(self.networks.autoencoder.encode(real.content(self.window)[real.whole > 0.0]))
        if not found:
            raise ValueError(f"no clip is as long as a window, {self.frames} frames")
        self.networks.scale.fit(torch.cat(found), trimmed=self.window.segments > 1)

    def pairs(self, batch: Batch, rng: torch.Generator) -> Pairs:
        """The batch's windows: in training with speaker dropout, in validation only those whose speaker is known."""
        found = pairs(batch, self.frames, self.config.protocol, self.speakers(batch, rng))
        if self.training:
            return found._replace(speaker=drop_speaker(found.speaker, self.config.blindness, rng))
        return found._replace(whole=found.whole * found.known)

    @torch.no_grad()
    def speakers(self, batch: Batch, rng: torch.Generator) -> Tensor | None:
        """(B, T, 85) expected reactions to the batch's speakers, in training to augmented ones; None: attributes."""
        if self.networks.person is None or self.columns is None:
            return None
        rows = batch.speaker
        if self.training:
            rows = varied(rows, self.columns, self.config.variation, rng)
            rows = without_modalities(rows, self.columns, self.config.dropouts, rng)
        return self.networks.person.expected(rows)

    def told(self, found: Pairs) -> Tensor:
        """(N, C) the conditions of windows; what is trained of a condition gets gradients."""
        if self.networks.person is not None:
            return self.networks.condition(found.speaker)
        with torch.no_grad():
            return self.networks.condition(found.speaker)

    def shown_errors(self, shown: DecodedWindows, found: Pairs) -> Tensor:
        """(N, W, 25 or 58 + 25) squared errors of what a window shows, in units of a listener's usual motion."""
        attributes = (shown.attributes - found.attributes).square()
        if self.window.content == "attributes":
            return attributes
        return torch.cat([((shown.face - found.face) / _MOVED_UNITS.to(found.face)).square(), attributes], dim=-1)

    def predict(self, clean: Tensor, condition: Tensor, level: Tensor, noise: Tensor) -> Prediction:
        """Denoise latents (N, D) with noise (N, D) added at levels (N,), given conditions (N, D)."""
        diffusion = self.networks.diffusion
        noisy = diffusion.noisy(clean, noise, level)
        predicted = self.networks.denoiser(noisy, level, condition).float()
        shown = self.networks.decode(diffusion.clean(noisy, predicted, level), quantize=False)
        return Prediction(predicted, diffusion.target(clean, noise), shown)

    def sample_noise(self, like: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random noise levels (N,) and noise (N, D) for latents (N, D)."""
        level = torch.randint(self.config.diffusion.steps, (len(like),), generator=rng, device=like.device)
        return level, torch.randn(like.shape, generator=rng, device=like.device)

    @torch.no_grad()
    def figures(self, clips: Clips, rng: torch.Generator) -> dict[str, float]:
        """RMSE of one sampled listener and of the nearest of ten, and the standard deviation between ten."""
        one, nearest, spread = ErrorSums(), ErrorSums(), ErrorSums()
        networks = self.networks
        for batch in clip_windows(clips, self.frames, networks.scale.low.device, _SHOWN_CLIPS):
            found = pairs(batch, self.frames, self.config.protocol, self.speakers(batch, rng))
            found = found.of(found.whole > 0.0)
            speaker, real = found.speaker, found.content(self.window)
            shape = (len(speaker), 10, 1, networks.autoencoder.window.latent)
            noise = torch.randn(shape, generator=rng, device=speaker.device)
            sampled = networks.sample(speaker, noise, LatentSampling(self.config.diffusion.steps))
            ten = shown_content(sampled, self.window).unflatten(0, (-1, 10))
            error = ten - real.unsqueeze(1)
            best = error[..., -ATTRIBUTES:].square().mean((2, 3)).argmin(1)
            one.add(error[:, 0])
            nearest.add(error[torch.arange(len(best)), best])
            spread.add(ten - ten.mean(1, keepdim=True))
        return {
            **one.figures("RMSE of one"),
            **nearest.figures("RMSE of the nearest of ten"),
            **spread.figures("deviation between ten"),
        }
