"""How ReactDiff is trained: the transformer, then the diffusion in its latent space, then the listeners' shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from react_ros.config import config_to, in_range
from react_ros.generators.speaker_inputs import INPUTS
from react_ros.systems.reactdiff.mmt import ListenerLatents, Mmt, MmtConfig, Shift, face_units
from react_ros.systems.reactdiff.model import Latent, LatentConfig, ModelConfig, Networks
from react_ros.systems.reactdiff.style import StyleConfig
from react_ros.training.data import Batch, Clips, mean_over
from react_ros.training.speaker_augmentation import Dropouts, statistics, without_modalities
from react_ros.training.training_stage import Finished, Task


@dataclass(frozen=True, slots=True)
class Losses:
    """Weights of what the transformer minimises (equation 5). Raises ValueError for an impossible value."""

    face: float = 10.0
    """w_1, of the face model's mean squared error."""
    emotion: float = 10.0
    """w_2, of the attributes' mean absolute error."""

    def __post_init__(self) -> None:
        for name in ("face", "emotion"):
            in_range(name, getattr(self, name), 0.0, 1e6)


@dataclass(frozen=True, slots=True)
class MmtTaskConfig:
    model: MmtConfig = field(default_factory=MmtConfig)
    losses: Losses = field(default_factory=Losses)
    dropouts: Dropouts = field(default_factory=Dropouts)
    told: float = 0.5
    """Probability that a window's latents are the listener's own, where half of what is trained on is told some."""
    blur: float = 0.05
    """Standard deviation of the noise in a listener's latents, which are within -1 to 1: what is finer says nothing."""

    def __post_init__(self) -> None:
        in_range("told", self.told, 0.0, 1.0)
        in_range("blur", self.blur, 0.0, 10.0)


@dataclass(frozen=True, slots=True)
class DiffusionTaskConfig:
    """Raises ValueError for an impossible value."""

    model: LatentConfig = field(default_factory=LatentConfig)
    dropouts: Dropouts = field(default_factory=Dropouts)
    error: Literal["l1", "l2"] = "l1"
    """Mean absolute error, the paper's, or mean squared error, whose best guess is the mean and not the median."""
    unknown: float = 0.1
    """Probability that a window is drawn without z_bc, for guidance (Ho and Salimans 2021); the paper has none."""

    def __post_init__(self) -> None:
        in_range("unknown", self.unknown, 0.0, 1.0)
        if self.error not in ("l1", "l2"):
            raise ValueError(f"error is {self.error!r}: it must be l1 or l2")


@dataclass(frozen=True, slots=True)
class StyleTaskConfig:
    model: StyleConfig = field(default_factory=StyleConfig)
    losses: Losses = field(default_factory=Losses)
    short: float = 0.3
    """Probability that a style is read off a quarter of a clip instead of a half."""

    def __post_init__(self) -> None:
        in_range("short", self.short, 0.0, 1.0)


def heard(batch: Batch, speaker: Tensor, config: MmtConfig) -> tuple[Tensor, Tensor]:
    """What the encoder reads for each frame of the listener, and which frames of the listener it may be held against.

    speaker: (B, T, INPUTS), the batch's or what dropouts left of it. Returns (B, n window, INPUTS) of n whole windows
    and (B, n window) bool. Online the speaker comes one window late: the first window hears nobody, which is true of a
    clip's first frames only.
    """
    frames = speaker.shape[1]
    beyond = -frames % config.window
    valid = batch.valid
    if config.protocol == "online":
        speaker = F.pad(speaker, (0, 0, config.window, 0))[:, :frames]
        late = torch.arange(frames, device=valid.device) >= config.window
        valid = valid & (late | (batch.start == 0)[:, None])
    return F.pad(speaker, (0, 0, 0, beyond)), F.pad(valid, (0, beyond))


def shown(batch: Batch, frames: int) -> tuple[Tensor, Tensor]:
    """The real listeners' (B, frames, 58) and (B, frames, 25), with zeros behind the end of a clip or crop."""
    beyond, there = frames - batch.valid.shape[1], batch.valid.unsqueeze(-1)
    return F.pad(batch.face_model * there, (0, 0, 0, beyond)), F.pad(batch.attributes * there, (0, 0, 0, beyond))


def reaction_losses(face: Tensor, emotion: Tensor, batch: Batch, valid: Tensor) -> dict[str, Tensor]:
    """Errors of (B, n window, 58) and (B, n window, 25) against the batch's listeners, where `valid` says so."""
    frames = batch.valid.shape[1]
    units = face_units().to(face.device)
    return {
        "face": mean_over(((face[:, :frames].float() - batch.face_model) / units).square(), valid[:, :frames]),
        "emotion": mean_over((emotion[:, :frames].float() - batch.attributes).abs(), valid[:, :frames]),
    }


def _weighed(losses: Losses, errors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    total = losses.face * errors["face"] + losses.emotion * errors["emotion"]
    return {"loss": total, **{name: error.detach() for name, error in errors.items()}}


class MmtTask(Task):
    """The transformer learns which reaction a speaker gets: one, the mean of them all."""

    system, stage = "reactdiff", "mmt"
    Config = MmtTaskConfig
    needs = frozenset({"attributes", "face_model"})

    def __init__(self, config: MmtTaskConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        self.model = Mmt(config.model)

    def prepare(self, clips: Clips) -> None:
        wanted = self.config.model.features.inputs
        if wanted != INPUTS:
            raise ValueError(
                f"stages.mmt.task.model.features wants rows of {wanted} numbers, but the corpus gives {INPUTS}: leave "
                "features out for those of the live robot"
            )
        self.model.encoder.fit(*statistics(clips))

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        speaker = without_modalities(batch.speaker, self.config.dropouts, rng) if self.training else batch.speaker
        rows, valid = heard(batch, speaker, self.config.model)
        x0 = self.model.encoder(rows)
        alone = self._weighed(self.model.decoder(x0), batch, valid)
        if self.model.listening is None:
            return alone
        told = self._weighed(self.model.decoder(self._told(x0, batch, self.model.listening, rng)), batch, valid)
        return {**alone, "loss": alone["loss"] + told["loss"], "told": told["loss"].detach()}

    def _weighed(self, decoded: tuple[Tensor, Tensor], batch: Batch, valid: Tensor) -> dict[str, Tensor]:
        return _weighed(self.config.losses, reaction_losses(decoded[0], decoded[1], batch, valid))

    def _told(self, x0: Tensor, batch: Batch, listening: ListenerLatents, rng: torch.Generator) -> Tensor:
        """Latents (B, n window, latent) of which some windows are the listener's own instead of the speaker's."""
        window = self.config.model.window
        code = listening.code(*shown(batch, x0.shape[1]))
        if self.training:
            code = code + self.config.blur * torch.randn(code.shape, generator=rng, device=code.device)
        chance = torch.rand(len(x0), x0.shape[1] // window, 1, generator=rng, device=x0.device)
        own = (chance < self.config.told).repeat_interleave(window, dim=1)
        return torch.where(own, listening.latents(code), x0)


class LatentData:
    """What the diffusion is trained on, of a transformer that is finished and frozen."""

    def __init__(self, mmt: Mmt, latent: Latent) -> None:
        self.mmt, self.latent = mmt, latent

    def read(self, batch: Batch, speaker: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The speaker's latents (B, n window, latent), the latents x_0 that are diffused (B, n window, width), which
        the former are the condition of, and valid (B, n window) bool."""
        config = self.mmt.config
        with torch.no_grad():
            if self.mmt.listening is not None:
                rows, valid = heard(batch, speaker, config)
                told = self.mmt.encoder(rows)
                return told, self.mmt.listening.code(*shown(batch, told.shape[1])), valid
            beyond = -speaker.shape[1] % config.window
            told = self.mmt.encoder(F.pad(speaker, (0, 0, 0, beyond)))
            return told, told, F.pad(batch.valid, (0, beyond))

    def error(
        self, batch: Batch, speaker: Tensor, rng: torch.Generator, kind: str, *,
        unknown: float = 0.0, of: Tensor | None = None, shifts: Sequence[Shift] = (), style: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """() how far the denoiser is from what it is to predict, over whole windows of valid frames.

        unknown: probability that a window's z_bc is 0. of: (B, T) bool, frames that may count; None: all. shifts,
        style: as for `Denoiser.forward`, with a style (B, size) each crop.
        """
        told, x0, valid = self.read(batch, speaker)
        if of is not None:
            valid = valid & F.pad(of, (0, valid.shape[1] - of.shape[1]))
        window, latent = self.mmt.config.window, self.latent

        def windows(x: Tensor) -> Tensor:
            return x.reshape(-1, window, x.shape[-1])  # (B n, window, …)

        data, whole = windows(latent.standard(x0)), valid.reshape(-1, window).all(1)
        noise = torch.randn(data.shape, generator=rng, device=data.device)
        level = torch.randint(latent.config.diffusion.steps, (len(data),), generator=rng, device=data.device)
        z_bc = latent.constraint(windows(told))
        if unknown:
            z_bc = z_bc * (torch.rand(len(z_bc), 1, generator=rng, device=z_bc.device) >= unknown)
        if style is not None:
            style = style.repeat_interleave(len(data) // len(style), dim=0)
        predicted = latent.denoiser(latent.diffusion.noisy(data, noise, level), level, z_bc, shifts, style).float()
        missed = predicted - latent.diffusion.target(data, noise)
        # On the scale of latents, where these are predicted: their size must not set the size of the steps.
        missed = missed * (latent.config.scale if latent.config.diffusion.prediction == "x0" else 1.0)
        missed = (missed.abs() if kind == "l1" else missed.square()).mean((1, 2))
        return (missed * whole).sum() / whole.sum().clamp_min(1)


class DiffusionTask(Task):
    """The latent diffusion learns the noise, or what it hides, by mean absolute error; the transformer is frozen."""

    system, stage = "reactdiff", "diffusion"
    Config = DiffusionTaskConfig
    needs = frozenset({"attributes", "face_model"})

    def __init__(self, config: DiffusionTaskConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        done = previous["mmt"]
        assert isinstance(done, Finished)
        self.mmt_config: MmtConfig = done.config.model
        self.mmt = Mmt(self.mmt_config).requires_grad_(False)
        self.mmt.load_state_dict(done.part("model."))
        self.model = Latent(config.model, self.mmt_config)
        self._data = LatentData(self.mmt, self.model)

    def train(self, mode: bool = True) -> DiffusionTask:
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
        speaker = without_modalities(batch.speaker, self.config.dropouts, rng) if self.training else batch.speaker
        unknown = self.config.unknown if self.training else 0.0
        return {"loss": self._data.error(batch, speaker, rng, self.config.error, unknown=unknown)}


class StyleTask(Task):
    """The shifts learn what is a listener's own: one part of a clip says who listens, the other how they react.

    A corpus does not say which of its clips have the same listener, and in a simulated one everybody listens once; so
    the parts of one clip stand for clips of one listener. All else is frozen.
    """

    system, stage = "reactdiff", "style"
    Config = StyleTaskConfig
    needs = frozenset({"attributes", "face_model"})

    def __init__(self, config: StyleTaskConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        mmt, latent = previous["mmt"], previous["diffusion"]
        assert isinstance(mmt, Finished) and isinstance(latent, Finished)
        self.model_config = ModelConfig(mmt.config.model, latent.config.model, config.model)
        self.networks = Networks(self.model_config)
        self.networks.mmt.load_state_dict(mmt.part("model."))
        self.networks.latent.load_state_dict(latent.part("model."))
        self.networks.mmt.requires_grad_(False)
        self.networks.latent.requires_grad_(False)
        self._data = LatentData(self.networks.mmt, self.networks.latent)
        self._error: str = latent.config.error

    def train(self, mode: bool = True) -> StyleTask:
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
        out = self._missed(batch, style, ~known, rng)
        if not self.training:
            for name, other in (("nobody's", torch.zeros_like(style)), ("another's", style.roll(1, 0))):
                out[f"loss with {name} style"] = self._missed(batch, other, ~known, rng)["loss"]
        return out

    def _missed(self, batch: Batch, style: Tensor, of: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """The loss in the frames `of` (B, T), with these styles (B, size); the same chance for the same `rng`."""
        shifts = self.networks.personal.each
        chance = torch.Generator(style.device)
        chance.set_state(rng.get_state())
        if self.networks.mmt.listening is not None:
            error = self._data.error(batch, batch.speaker, chance, self._error, of=of, shifts=shifts, style=style)
            return {"loss": error}
        rows, valid = heard(batch, batch.speaker, self.model_config.mmt)
        with torch.no_grad():
            x0 = self.networks.mmt.encoder(rows)
        face, emotion = self.networks.mmt.decoder(x0, shifts, style)
        valid = valid & F.pad(of, (0, valid.shape[1] - of.shape[1]))
        return _weighed(self.config.losses, reaction_losses(face, emotion, batch, valid))

    def _style(self, batch: Batch, late: Tensor, short: Tensor) -> tuple[Tensor, Tensor]:
        """Each listener's style (B, size), read off the first or, where `late`, the second half of the crop.

        Also (B, T) bool, the frames of that half. A half is shown as two clips; where `short`, as one of them.
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
