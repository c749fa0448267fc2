"""Training of ReactDiff: the multi-modality transformer, the diffusion in its latent space, then listener shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from react_ros.config import config_to, in_range
from react_ros.generators.chunked import ChunkSampling
from react_ros.systems.reactdiff.features import Features
from react_ros.systems.reactdiff.mmt import ListenerLatents, Mmt, MmtConfig, Shift, face_units
from react_ros.systems.reactdiff.model import Latent, LatentConfig, ModelConfig, Networks
from react_ros.systems.reactdiff.style import StyleConfig
from react_ros.training.data import Batch, Clips, mean_over
from react_ros.training.speaker_augmentation import Dropouts, Variation, statistics, varied, without_modalities
from react_ros.training.training_stage import FinishedStage, TrainingStage


@dataclass(frozen=True, slots=True)
class Losses:
    """Weights of the transformer's losses (equation 5). Raises ValueError for an impossible value."""

    face: float = 10.0
    """w_1, of the face model's mean squared error."""
    emotion: float = 10.0
    """w_2, of the attributes' mean absolute error."""

    def __post_init__(self) -> None:
        for name in ("face", "emotion"):
            in_range(name, getattr(self, name), 0.0, 1e6)


@dataclass(frozen=True, slots=True)
class MmtStageConfig:
    model: MmtConfig = field(default_factory=MmtConfig)
    losses: Losses = field(default_factory=Losses)
    dropouts: Dropouts = field(default_factory=Dropouts)
    variation: Variation = field(default_factory=Variation)
    told: float = 0.5
    """Probability that a window's latents are encoded from the listener instead of the speaker, in the second of two
    losses (the first decodes the speaker's latents only)."""
    blur: float = 0.05
    """Standard deviation of the noise added to a listener's latents, which are within -1 to 1."""

    def __post_init__(self) -> None:
        in_range("told", self.told, 0.0, 1.0)
        in_range("blur", self.blur, 0.0, 10.0)


@dataclass(frozen=True, slots=True)
class DiffusionStageConfig:
    """Raises ValueError for an impossible value."""

    model: LatentConfig = field(default_factory=LatentConfig)
    dropouts: Dropouts = field(default_factory=Dropouts)
    variation: Variation = field(default_factory=Variation)
    error: Literal["l1", "l2"] = "l1"
    """l1: mean absolute error, as in the paper; its optimum is the median. l2: mean squared error; the mean."""
    unknown: float = 0.1
    """Probability that z_bc is masked, for classifier-free guidance (Ho and Salimans 2021); the paper has none."""
    sampling: ChunkSampling = field(default_factory=ChunkSampling)
    """Stored with the weights."""

    def __post_init__(self) -> None:
        in_range("unknown", self.unknown, 0.0, 1.0)
        if self.error not in ("l1", "l2"):
            raise ValueError(f"error is {self.error!r}: it must be l1 or l2")


@dataclass(frozen=True, slots=True)
class StyleStageConfig:
    model: StyleConfig = field(default_factory=StyleConfig)
    losses: Losses = field(default_factory=Losses)
    short: float = 0.3
    """Probability that a style is encoded from a quarter of a crop instead of a half."""

    def __post_init__(self) -> None:
        in_range("short", self.short, 0.0, 1.0)


def augmented(
    speaker: Tensor, config: MmtStageConfig | DiffusionStageConfig, features: Features, rng: torch.Generator
) -> Tensor:
    """(B, T, inputs) with the channels varied, and some faces and audio missing."""
    scheme = features.scheme
    assert scheme is not None  # `MmtStage.prepare`
    return without_modalities(varied(speaker, scheme, config.variation, rng), scheme, config.dropouts, rng)


def encoder_inputs(batch: Batch, speaker: Tensor, config: MmtConfig) -> tuple[Tensor, Tensor]:
    """The encoder's input at each frame of the listener, and the frames for which it is a valid training pair.

    speaker: (B, T, INPUTS), the batch's or an augmented copy. Returns (B, n window, INPUTS), padded to n whole windows,
    and (B, n window) bool. In the online protocol the speaker is delayed by one window; the first window of a crop then
    has no speaker and is valid at the start of a clip only.
    """
    frames = speaker.shape[1]
    padding = -frames % config.window
    valid = batch.valid
    if config.protocol == "online":
        speaker = F.pad(speaker, (0, 0, config.window, 0))[:, :frames]
        late = torch.arange(frames, device=valid.device) >= config.window
        valid = valid & (late | (batch.start == 0)[:, None])
    return F.pad(speaker, (0, 0, 0, padding)), F.pad(valid, (0, padding))


def listener_faces(batch: Batch, frames: int) -> tuple[Tensor, Tensor]:
    """The human listeners' (B, frames, 58) and (B, frames, 25), zero after the end of the clip or crop."""
    padding, valid = frames - batch.valid.shape[1], batch.valid.unsqueeze(-1)
    return F.pad(batch.face_model * valid, (0, 0, 0, padding)), F.pad(batch.attributes * valid, (0, 0, 0, padding))


def reaction_losses(face: Tensor, emotion: Tensor, batch: Batch, valid: Tensor) -> dict[str, Tensor]:
    """Errors of (B, n window, 58) and (B, n window, 25) against the batch's listeners, over `valid` (B, n window)."""
    frames = batch.valid.shape[1]
    units = face_units().to(face.device)
    return {
        "face": mean_over(((face[:, :frames].float() - batch.face_model) / units).square(), valid[:, :frames]),
        "emotion": mean_over((emotion[:, :frames].float() - batch.attributes).abs(), valid[:, :frames]),
    }


def _weighted(losses: Losses, errors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    total = losses.face * errors["face"] + losses.emotion * errors["emotion"]
    return {"loss": total, **{name: error.detach() for name, error in errors.items()}}


class MmtStage(TrainingStage):
    """Trains the transformer to regress the reaction to a speaker; deterministic, hence the mean of all listeners."""

    system, stage = "reactdiff", "mmt"
    Config = MmtStageConfig
    needs = frozenset({"attributes", "face_model"})

    def __init__(self, config: MmtStageConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        self.model = Mmt(config.model)

    @classmethod
    def inputs(cls, config: MmtStageConfig) -> str | None:
        scheme = config.model.features.scheme
        return None if scheme is None else scheme.name

    def prepare(self, clips: Clips) -> None:
        wanted, given = self.config.model.features.inputs, clips.inputs.inputs
        if wanted != given:
            raise ValueError(
                f"stages.mmt.stage.model.features wants rows of {wanted} numbers, but the corpus gives {given}: leave "
                "features out for those of the live robot"
            )
        self.model.encoder.fit(*statistics(clips))

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        speaker = batch.speaker
        if self.training:
            speaker = augmented(speaker, self.config, self.config.model.features, rng)
        rows, valid = encoder_inputs(batch, speaker, self.config.model)
        x0 = self.model.encoder(rows)
        from_speaker = self._losses(self.model.decoder(x0), batch, valid)
        if self.model.listening is None:
            return from_speaker
        latents = self._some_from_listener(x0, batch, self.model.listening, rng)
        mixed = self._losses(self.model.decoder(latents), batch, valid)
        return {**from_speaker, "loss": from_speaker["loss"] + mixed["loss"], "told": mixed["loss"].detach()}

    def _losses(self, decoded: tuple[Tensor, Tensor], batch: Batch, valid: Tensor) -> dict[str, Tensor]:
        return _weighted(self.config.losses, reaction_losses(decoded[0], decoded[1], batch, valid))

    def _some_from_listener(self, x0: Tensor, batch: Batch, listening: ListenerLatents, rng: torch.Generator) -> Tensor:
        """Latents (B, n window, latent): the speaker's `x0`, in some windows replaced by the listener's."""
        window = self.config.model.window
        code = listening.code(*listener_faces(batch, x0.shape[1]))
        if self.training:
            code = code + self.config.blur * torch.randn(code.shape, generator=rng, device=code.device)
        chance = torch.rand(len(x0), x0.shape[1] // window, 1, generator=rng, device=x0.device)
        own = (chance < self.config.told).repeat_interleave(window, dim=1)
        return torch.where(own, listening.latents(code), x0)


class LatentData:
    """The diffusion's training data and error, computed with a frozen transformer."""

    def __init__(self, mmt: Mmt, latent: Latent) -> None:
        self.mmt, self.latent = mmt, latent

    def read(self, batch: Batch, speaker: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The condition, what is `Latent.told` (B, n window, told); diffused latents x_0 (B, n window, width); valid
        frames (B, n window), bool."""
        config = self.mmt.config
        with torch.no_grad():
            if self.mmt.listening is not None:
                rows, valid = encoder_inputs(batch, speaker, config)
                condition = self.latent.told(self.mmt.decoder, self.mmt.encoder(rows))
                return condition, self.mmt.listening.code(*listener_faces(batch, condition.shape[1])), valid
            padding = -speaker.shape[1] % config.window
            x0 = self.mmt.encoder(F.pad(speaker, (0, 0, 0, padding)))
            return self.latent.told(self.mmt.decoder, x0), x0, F.pad(batch.valid, (0, padding))

    def error(
        self, batch: Batch, speaker: Tensor, rng: torch.Generator, kind: str, *,
        unknown: float = 0.0, of: Tensor | None = None, shifts: Sequence[Shift] = (), style: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """() the denoiser's error over windows whose frames are all valid.

        kind: l1 or l2. unknown: probability that a window's z_bc is masked. of: (B, T) bool, the frames to include;
        None: all. shifts, style: as for `Denoiser.forward`, with a style (B, size) per crop.
        """
        condition, x0, valid = self.read(batch, speaker)
        if of is not None:
            valid = valid & F.pad(of, (0, valid.shape[1] - of.shape[1]))
        window, latent = self.mmt.config.window, self.latent

        def windows(x: Tensor) -> Tensor:
            return x.reshape(-1, window, x.shape[-1])  # (B n, window, …)

        data, whole = windows(latent.standard(x0)), valid.reshape(-1, window).all(1)
        noise = torch.randn(data.shape, generator=rng, device=data.device)
        level = torch.randint(latent.config.diffusion.steps, (len(data),), generator=rng, device=data.device)
        z_bc = latent.constraint(windows(condition))
        if unknown:
            z_bc = z_bc * (torch.rand(len(z_bc), 1, generator=rng, device=z_bc.device) >= unknown)
        if style is not None:
            style = style.repeat_interleave(len(data) // len(style), dim=0)
        predicted = latent.denoiser(latent.diffusion.noisy(data, noise, level), level, z_bc, shifts, style).float()
        error = predicted - latent.diffusion.target(data, noise)
        # In units of unscaled latents where x_0 is predicted: the scale must not change the size of gradients.
        error = error * (latent.config.scale if latent.config.diffusion.prediction == "x0" else 1.0)
        error = (error.abs() if kind == "l1" else error.square()).mean((1, 2))
        return (error * whole).sum() / whole.sum().clamp_min(1)


class DiffusionStage(TrainingStage):
    """Trains the latent diffusion to predict the noise, or the clean latents; the transformer is frozen."""

    system, stage = "reactdiff", "diffusion"
    Config = DiffusionStageConfig
    needs = frozenset({"attributes", "face_model"})

    def __init__(self, config: DiffusionStageConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        done = previous["mmt"]
        assert isinstance(done, FinishedStage)
        self.mmt_config: MmtConfig = done.config.model
        self.mmt = Mmt(self.mmt_config).requires_grad_(False)
        self.mmt.load_state_dict(done.part("model."))
        self.model = Latent(config.model, self.mmt_config)
        self._data = LatentData(self.mmt, self.model)

    def train(self, mode: bool = True) -> DiffusionStage:
        super().train(mode)
        self.mmt.eval()
        return self

    @torch.no_grad()
    def prepare(self, clips: Clips) -> None:
        window, found = self.mmt_config.window, []
        self.mmt.eval()
        for clip in np.unique(np.linspace(0, len(clips) - 1, min(200, len(clips))).round().astype(np.int64)):
            if frames := int(clips.lengths[clip]) // window * window:
                batch = clips.batch(np.array([clip]), np.array([0]), frames).to(self.model.mean.device)
                found.append([x[0] for x in self._data.read(batch, batch.speaker)[:2]])
        if not found:
            raise ValueError(f"no clip has a window of {window} frames: there are no latents to learn from")
        speaker, x0 = (torch.cat(latents) for latents in zip(*found, strict=True))
        self.model.fit(x0, speaker)

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        speaker = batch.speaker
        if self.training:
            speaker = augmented(speaker, self.config, self.mmt_config.features, rng)
        unknown = self.config.unknown if self.training else 0.0
        return {"loss": self._data.error(batch, speaker, rng, self.config.error, unknown=unknown)}


class StyleStage(TrainingStage):
    """Trains the listener reaction shifts: one half of a crop gives the style, the other half is to be predicted.

    Corpora do not identify the listeners of their clips, and in simulated ones each person listens once; so the halves
    of one crop stand for two clips of one listener. All other networks are frozen.
    """

    system, stage = "reactdiff", "style"
    Config = StyleStageConfig
    needs = frozenset({"attributes", "face_model"})

    def __init__(self, config: StyleStageConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        mmt, latent = previous["mmt"], previous["diffusion"]
        assert isinstance(mmt, FinishedStage) and isinstance(latent, FinishedStage)
        self.model_config = ModelConfig(mmt.config.model, latent.config.model, config.model, latent.config.sampling)
        self.networks = Networks(self.model_config)
        self.networks.mmt.load_state_dict(mmt.part("model."))
        self.networks.latent.load_state_dict(latent.part("model."))
        self.networks.mmt.requires_grad_(False)
        self.networks.latent.requires_grad_(False)
        self._data = LatentData(self.networks.mmt, self.networks.latent)
        self._error: str = latent.config.error

    def train(self, mode: bool = True) -> StyleStage:
        super().train(mode)
        self.networks.mmt.eval()
        self.networks.latent.eval()
        return self

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        if self.training:
            chance = torch.rand(2, len(batch.valid), generator=rng, device=batch.valid.device)
            late, short = chance[0] < 0.5, chance[1] < self.config.short
        else:
            late = torch.arange(len(batch.valid), device=batch.valid.device) % 2 == 1
            short = torch.zeros_like(late)
        style, known = self._style(batch, late, short)
        out = self._style_loss(batch, style, ~known, rng)
        if not self.training:
            for name, other in (("nobody's", torch.zeros_like(style)), ("another's", style.roll(1, 0))):
                out[f"loss with {name} style"] = self._style_loss(batch, other, ~known, rng)["loss"]
        return out

    def _style_loss(self, batch: Batch, style: Tensor, of: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """The loss in the frames `of` (B, T) with styles (B, size); `rng` is copied: calls have the same noise."""
        shifts = self.networks.personal.each
        own_rng = torch.Generator(style.device)
        own_rng.set_state(rng.get_state())
        if self.networks.mmt.listening is not None:
            error = self._data.error(batch, batch.speaker, own_rng, self._error, of=of, shifts=shifts, style=style)
            return {"loss": error}
        rows, valid = encoder_inputs(batch, batch.speaker, self.model_config.mmt)
        with torch.no_grad():
            x0 = self.networks.mmt.encoder(rows)
        face, emotion = self.networks.mmt.decoder(x0, shifts, style)
        valid = valid & F.pad(of, (0, valid.shape[1] - of.shape[1]))
        return _weighted(self.config.losses, reaction_losses(face, emotion, batch, valid))

    def _style(self, batch: Batch, late: Tensor, short: Tensor) -> tuple[Tensor, Tensor]:
        """Each listener's style (B, size), encoded from the first or, where `late` (B,), the second half of the crop.

        Also (B, T) bool, the frames of that half. A half is encoded as two clips; where `short` (B,), as one of them.
        """
        half = batch.valid.shape[1] // 2
        quarter = half // 2

        def parts(x: Tensor) -> Tensor:
            first, second = x[:, : 2 * quarter], x[:, half : half + 2 * quarter]
            chosen = torch.where(late.view(-1, *(1,) * (x.dim() - 1)), second, first)
            return chosen.unflatten(1, (2, quarter))

        valid = parts(batch.valid)
        valid[:, 1] &= ~short[:, None]
        style = self.networks.personal.encoder(parts(batch.face_model), parts(batch.attributes), valid)
        at = torch.arange(batch.valid.shape[1], device=late.device)
        return style, (at >= half) == late[:, None]

    def weights(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        return self.networks.state_dict(), config_to(self.model_config)
