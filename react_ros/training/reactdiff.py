"""How ReactDiff is trained: the transformer, then the diffusion in its latent space, then the listeners' shifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from react_ros.generators.checks import in_range
from react_ros.generators.parts.inputs import INPUTS
from react_ros.generators.parts.weights import config_to
from react_ros.generators.reactdiff.mmt import Mmt, MmtConfig, face_units
from react_ros.generators.reactdiff.model import Latent, LatentConfig, ModelConfig, Networks
from react_ros.generators.reactdiff.style import StyleConfig
from react_ros.training.data import Batch, Clips
from react_ros.training.fsq import Dropouts, _inside, _mean, _statistics, without_modalities
from react_ros.training.task import Finished, Task


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


@dataclass(frozen=True, slots=True)
class DiffusionTaskConfig:
    model: LatentConfig = field(default_factory=LatentConfig)
    dropouts: Dropouts = field(default_factory=Dropouts)


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


def reaction_losses(face: Tensor, emotion: Tensor, batch: Batch, valid: Tensor) -> dict[str, Tensor]:
    """Errors of (B, n window, 58) and (B, n window, 25) against the batch's listeners, where `valid` says so."""
    frames = batch.valid.shape[1]
    units = face_units().to(face.device)
    return {
        "face": _mean(((face[:, :frames].float() - batch.face_model) / units).square(), valid[:, :frames]),
        "emotion": _mean((emotion[:, :frames].float() - batch.attributes).abs(), valid[:, :frames]),
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
        self.model.encoder.fit(*_statistics(clips))

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        speaker = without_modalities(batch.speaker, self.config.dropouts, rng) if self.training else batch.speaker
        rows, valid = heard(batch, speaker, self.config.model)
        face, emotion = self.model(rows)
        return _weighed(self.config.losses, reaction_losses(face, emotion, batch, valid))


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
        self.mmt.load_state_dict(_inside(done, "model."))
        self.model = Latent(config.model, self.mmt_config.window, self.mmt_config.latent)

    def train(self, mode: bool = True) -> DiffusionTask:
        super().train(mode)
        self.mmt.eval()
        return self

    @torch.no_grad()
    def prepare(self, clips: Clips) -> None:
        device, encoder, window = self.model.mean.device, self.mmt.eval().encoder, self.mmt_config.window
        found = []
        for clip in np.unique(np.linspace(0, len(clips) - 1, min(200, len(clips))).round().astype(np.int64)):
            rows = clips.speaker(int(clip))
            whole = torch.from_numpy(np.array(rows[: len(rows) // window * window])).to(device)
            found.append(encoder(whole[None])[0])
        latents = torch.cat(found)
        if not len(latents):
            raise ValueError(f"no clip has a window of {window} frames: there are no latents to learn from")
        self.model.fit(latents)

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        speaker = without_modalities(batch.speaker, self.config.dropouts, rng) if self.training else batch.speaker
        window, frames = self.mmt_config.window, speaker.shape[1]
        beyond = -frames % window
        with torch.no_grad():
            x0 = self.model.standard(self.mmt.encoder(F.pad(speaker, (0, 0, 0, beyond))))
        x0 = x0.reshape(-1, window, x0.shape[-1])  # (B n, window, latent)
        # A window with frames behind the end of its clip is no speaker's.
        whole = F.pad(batch.valid, (0, beyond)).reshape(-1, window).all(1)
        noise = torch.randn(x0.shape, generator=rng, device=x0.device)
        level = torch.randint(self.config.model.diffusion.steps, (len(x0),), generator=rng, device=x0.device)
        noisy, target = self.model.diffusion.noisy(x0, noise, level), self.model.diffusion.target(x0, noise)
        z_bc = self.model.denoiser.constraint(x0)
        error = (self.model.denoiser(noisy, level, z_bc).float() - target).abs().mean((1, 2))
        # On the scale of latents, where these are predicted: their size must not set the size of the steps.
        unit = self.config.model.scale if self.config.model.diffusion.prediction == "x0" else 1.0
        return {"loss": unit * (error * whole).sum() / whole.sum().clamp_min(1)}


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
        self.networks.mmt.load_state_dict(_inside(mmt, "model."))
        self.networks.latent.load_state_dict(_inside(latent, "model."))
        self.networks.mmt.requires_grad_(False)
        self.networks.latent.requires_grad_(False)

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
        x0, valid = self._latents(batch)
        valid = valid & ~F.pad(known, (0, valid.shape[1] - known.shape[1]))
        errors = self._errors(batch, x0, valid, style)
        out = _weighed(self.config.losses, errors)
        if not self.training:
            for name, other in (("nobody's", torch.zeros_like(style)), ("another's", style.roll(1, 0))):
                told = _weighed(self.config.losses, self._errors(batch, x0, valid, other))
                out[f"loss with {name} style"] = told["loss"]
        return out

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

    @torch.no_grad()
    def _latents(self, batch: Batch) -> tuple[Tensor, Tensor]:
        rows, valid = heard(batch, batch.speaker, self.model_config.mmt)
        return self.networks.mmt.encoder(rows), valid

    def _errors(self, batch: Batch, x0: Tensor, valid: Tensor, style: Tensor) -> dict[str, Tensor]:
        face, emotion = self.networks.mmt.decoder(x0, self.networks.personal.each, style)
        return reaction_losses(face, emotion, batch, valid)

    def weights(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        return self.networks.state_dict(), config_to(self.model_config)
