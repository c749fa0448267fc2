"""How the token listener is trained: the tokenizer, then the speaker's encoder, then the predictor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from react_ros.config import config_to, in_range, whole_in_range
from react_ros.face import ARKIT, ATTRIBUTES, AU, EXPRESSIONS, FACE_MODEL, ROTATION_58, TRANSLATION_58, VA
from react_ros.nn.face_units import ROTATION_UNIT, TRANSLATION_UNIT
from react_ros.nn.quantizers import Usage
from react_ros.systems.fsq import annotation
from react_ros.systems.fsq.model import (
    ModelConfig,
    Networks,
    Predictor,
    PredictorConfig,
    Sampling,
    SpeakerEncoder,
    Tokenizer,
    TokenizerConfig,
)
from react_ros.training.data import Batch, Clips, mean_over
from react_ros.training.speaker_augmentation import Dropouts, statistics, without_modalities
from react_ros.training.training_stage import Finished, Task


def _named(*words: str) -> list[int]:
    return [i for i, name in enumerate(ARKIT) if name.startswith(words)]


REGIONS: dict[str, list[int]] = {
    "brows": _named("brow"),
    "eyelids": _named("eyeBlink", "eyeSquint", "eyeWide"),
    "gaze": _named("eyeLook"),
    "cheeks and nose": _named("cheek", "nose"),
    "mouth and jaw": _named("mouth", "jaw", "tongue"),
    "rotation": list(range(FACE_MODEL))[ROTATION_58],
    "translation": list(range(FACE_MODEL))[TRANSLATION_58],
}
"""The facial regions over which the poster sums its loss, as places among the 58; together all of them."""


STILL = 1e-4
"""A coefficient that deviates less within every clip does not move."""


def _default_weights() -> dict[str, float]:
    return {"brows": 1.0, "eyelids": 1.0, "gaze": 0.5, "cheeks and nose": 0.7, "mouth and jaw": 1.0, "rotation": 1.0,
            "translation": 0.3}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenizerLosses:
    """Weights of what the tokenizer minimises. Raises ValueError for an unknown region or an impossible value."""

    regions: dict[str, float] = field(default_factory=_default_weights)
    """Of each region's error; a region that is not named counts nothing."""
    motion: float = 1.0
    """Of the error of the change from frame to frame, beside that of the frame itself."""
    jerk: float = 1.0
    """Of the error of the third difference: tokens come in steps, faces do not."""
    units: float = 0.7
    """Of the action units' cross-entropy."""
    affect: float = 6.0
    """Of the squared error of valence and arousal."""
    expressions: float = 0.15
    """Of the expressions' cross-entropy."""
    unlikely: float = 0.06
    """Of the error of the expressions' logarithms: what is unlikely must be as unlikely as it is."""

    def __post_init__(self) -> None:
        for name, weight in self.regions.items():
            if name not in REGIONS:
                raise ValueError(f"regions names {name!r}: the regions are {', '.join(REGIONS)}")
            in_range(f"regions.{name}", weight, 0.0, 1e3)
        for name in ("motion", "jerk", "units", "affect", "expressions", "unlikely"):
            in_range(name, getattr(self, name), 0.0, 1e3)


@dataclass(frozen=True, slots=True)
class Tremble:
    """How codes are mixed up in training, so that the decoders do not follow each one: tokens that are drawn tremble.

    Raises ValueError for an impossible value.
    """

    share: float = 0.1
    """Mean share of a frame's codes that are another frame's."""
    reach: int = 6
    """Frames between the two, at most."""

    def __post_init__(self) -> None:
        in_range("share", self.share, 0.0, 0.5)
        whole_in_range("reach", self.reach, 1, 250, "frames")


@dataclass(frozen=True, slots=True)
class TokenizerTaskConfig:
    model: TokenizerConfig = field(default_factory=TokenizerConfig)
    losses: TokenizerLosses = field(default_factory=TokenizerLosses)
    tremble: Tremble = field(default_factory=Tremble)


def trembling(latent: Tensor, valid: Tensor, groups: int, how: Tremble, rng: torch.Generator) -> Tensor:
    """(B, T, dim) latents in which groups of some frames are those of valid (B, T) frames nearby."""
    count, frames, dim = latent.shape
    shape, device = (count, frames, groups), latent.device
    share = 2.0 * how.share * torch.rand(count, 1, 1, generator=rng, device=device)
    moved = torch.rand(shape, generator=rng, device=device) < share
    away = torch.randint(-how.reach, how.reach + 1, shape, generator=rng, device=device)
    here = torch.arange(frames, device=device)[:, None].expand(shape)
    source = (here + away * moved).clamp(0, frames - 1)
    source = torch.where(valid.unsqueeze(-1).expand(shape).gather(1, source), source, here)
    each = latent.view(*shape, dim // groups)
    return each.gather(1, source.unsqueeze(-1).expand_as(each)).view_as(latent)


class TokenizerTask(Task):
    """Faces to tokens and back, as well as the tokens allow."""

    system, stage = "fsq", "tokenizer"
    Config = TokenizerTaskConfig
    needs = frozenset({"attributes", "face_model"})
    units: Tensor

    def __init__(self, config: TokenizerTaskConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.losses, self.tremble = config.losses, config.tremble
        self.model = Tokenizer(config.model)
        # So that tanh spreads over the levels from the first step on, instead of calling everything 0.
        nn.init.normal_(self.model.encoder_out.weight, std=0.2)
        units = torch.ones(FACE_MODEL)
        units[ROTATION_58], units[TRANSLATION_58] = 5.0 * ROTATION_UNIT, 10.0 * TRANSLATION_UNIT
        self.register_buffer("units", units, persistent=False)

    def prepare(self, clips: Clips) -> None:
        chosen = range(0, len(clips), max(len(clips) // 100, 1))
        deviation = np.max([np.asarray(clips.face_model(clip)).std(axis=0) for clip in chosen], axis=0)
        self.model.moves.copy_(torch.from_numpy(deviation > STILL).float())

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        quantized = self.model.tokens(batch.face_model, batch.attributes, batch.valid)
        latent = quantized.latent
        if self.training:
            latent = trembling(latent, batch.valid, self.model.quantizer.groups, self.tremble, rng)
        decoded = self.model.decode(latent)
        both = batch.valid[:, 1:] & batch.valid[:, :-1]
        error = (decoded.face.float() - batch.face_model) / self.units
        change = error[:, 1:] - error[:, :-1]
        jerk = change.diff(n=2, dim=1)
        long = batch.valid[:, 3:] & batch.valid[:, :-3]
        total, told = error.new_zeros(()), {}
        for name, weight in self.losses.regions.items():
            own, moved = error[..., REGIONS[name]], change[..., REGIONS[name]]
            part = mean_over(own.abs() + 3.0 * own.square(), batch.valid) + self.losses.motion * mean_over(
                moved.abs(), both
            )
            part = part + self.losses.jerk * mean_over(jerk[..., REGIONS[name]].abs(), long)
            told[name] = part.detach()
            total = total + weight * part
        emotion = emotion_losses(decoded.emotion.float(), batch.attributes, batch.valid)
        for name in ("units", "affect", "expressions", "unlikely"):
            total = total + getattr(self.losses, name) * emotion[name]
        return {"loss": total + quantized.loss, "quantizer": quantized.loss.detach(), **told, **_told(emotion)}

    @torch.no_grad()
    def figures(self, clips: Clips, rng: torch.Generator) -> dict[str, float]:
        """RMSE by region (weights of 0 to 1, rad, m), wrong action units, RMSE of affect, use of codes."""
        usage = Usage(self.model.quantizer.groups, self.model.quantizer.size)
        squares, wrong, affect, frames = torch.zeros(FACE_MODEL), 0.0, 0.0, 0
        for batch, decoded, indices in _tokenized(self.model, clips):
            valid = batch.valid
            squares += (decoded.face - batch.face_model)[valid].square().sum(0).cpu()
            wrong += float(((decoded.emotion[..., AU] > 0) != (batch.attributes[..., AU] > 0.5))[valid].sum())
            affect += float((decoded.emotion - batch.attributes)[..., VA][valid].square().sum())
            frames += int(valid.sum())
            usage.add(indices[valid])
        by_region = {f"RMSE of {name}": float((squares[i].mean() / frames).sqrt()) for name, i in REGIONS.items()}
        return by_region | {
            "wrong action units": wrong / (frames * 15),
            "RMSE of affect": (affect / (frames * 2)) ** 0.5,
            **usage.figures(),
        }


def emotion_losses(emotion: Tensor, attributes: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Errors of (B, T, 25) of D_emotion against attributes (B, T, 25): units, affect, expressions, unlikely."""
    likely = emotion[..., EXPRESSIONS].log_softmax(-1)
    real = attributes[..., EXPRESSIONS]
    units = F.binary_cross_entropy_with_logits(emotion[..., AU], attributes[..., AU].clamp(0.0, 1.0), reduction="none")
    return {
        "units": mean_over(units, valid),
        "affect": mean_over((emotion[..., VA] - attributes[..., VA]).square(), valid),
        "expressions": mean_over(-(real * likely).sum(-1), valid),
        "unlikely": mean_over(((likely.exp() + 2e-3).log() - (real + 2e-3).log()).abs(), valid),
    }


def _told(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: loss.detach() for name, loss in losses.items()}


def _tokenized(model: Tokenizer, clips: Clips, most: int = 100) -> Any:
    """(batch, Decoded, indices) of clips, 10 at a time; `most` clips, spread over all."""
    device = next(model.parameters()).device
    chosen = np.unique(np.linspace(0, len(clips) - 1, min(most, len(clips))).round().astype(np.int64))
    for k in range(0, len(chosen), 10):
        part = chosen[k : k + 10]
        batch = clips.batch(part, np.zeros_like(part), int(clips.lengths[part].max())).to(device)
        decoded, quantized = model(batch.face_model, batch.attributes)
        yield batch, decoded, quantized.indices


class Expectation(nn.Module):
    """What a listener shows on average, read linearly off the encoded speaker: it teaches the encoder to listen."""

    units: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, ATTRIBUTES + FACE_MODEL)
        units = torch.ones(FACE_MODEL)
        units[ROTATION_58], units[TRANSLATION_58] = 5.0 * ROTATION_UNIT, 5.0 * TRANSLATION_UNIT
        self.register_buffer("units", units, persistent=False)

    def forward(self, memory: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Losses of the expectation at each frame."""
        expected = self.read(memory).float()
        emotion = emotion_losses(expected[..., :ATTRIBUTES], batch.attributes, batch.valid)
        face = mean_over((expected[..., ATTRIBUTES:] - batch.face_model / self.units).square(), batch.valid)
        total = 3.0 * emotion["units"] + 2.0 * emotion["affect"] + 0.3 * emotion["expressions"] + 10.0 * face
        return {"expectation": total, **emotion, "face": face}


@dataclass(frozen=True, slots=True)
class EncoderTaskConfig:
    model: PredictorConfig = field(default_factory=PredictorConfig)
    """The whole predictor's: its encoder is trained here."""
    dropouts: Dropouts = field(default_factory=Dropouts)


class EncoderTask(Task):
    """The speaker's encoder learns what listeners do on average: quick to train, and the predictor's ears and eyes."""

    system, stage = "fsq", "encoder"
    Config = EncoderTaskConfig
    needs = frozenset({"attributes", "face_model"})

    def __init__(self, config: EncoderTaskConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.dropouts = config.dropouts
        self.model = SpeakerEncoder(config.model.width, config.model.encoder_layers, config.model.dropout)
        self.expectation = Expectation(config.model.width)

    def prepare(self, clips: Clips) -> None:
        mean, deviation = statistics(clips)
        self.model.fit(mean, deviation)

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        speaker = without_modalities(batch.speaker, self.dropouts, rng) if self.training else batch.speaker
        losses = self.expectation(self.model(speaker), batch)
        return {"loss": losses.pop("expectation"), **_told(losses)}


@dataclass(frozen=True, slots=True)
class Corruption:
    """What is done to the past tokens in training, so that the predictor does not merely continue them.

    Frames of the past nearly tell the next frame: a predictor that is told them faithfully copies, and hears nobody.
    """

    replaced: float = 0.05
    """Mean share of past tokens that are another listener's."""
    forgotten: float = 0.6
    """Probability that stretches of the past are unknown; then any share of it, in stretches of a second or so."""

    def __post_init__(self) -> None:
        for name in ("replaced", "forgotten"):
            in_range(name, getattr(self, name), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class PredictorTaskConfig:
    model: PredictorConfig = field(default_factory=PredictorConfig)
    dropouts: Dropouts = field(default_factory=Dropouts)
    corruption: Corruption = field(default_factory=Corruption)
    nobody: float = 0.15
    """Probability that the speaker is unknown, see `Sampling.guidance`."""
    expectation: float = 0.5
    """Weight of the encoder's own loss."""
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        in_range("nobody", self.nobody, 0.0, 0.9)
        in_range("expectation", self.expectation, 0.0, 100.0)


class PredictorTask(Task):
    """The next token of the listener, given their past and the speaker."""

    system, stage = "fsq", "predictor"
    Config = PredictorTaskConfig
    needs = frozenset({"attributes", "face_model"})
    judged_by = "tokens"

    @classmethod
    def expect_fit(cls, config: PredictorTaskConfig, previous: Mapping[str, Any]) -> None:
        if previous["encoder"].model != config.model:
            raise ValueError("stages.encoder.task.model and stages.predictor.task.model must be the same")

    def __init__(self, config: PredictorTaskConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        tokenized, encoded = previous["tokenizer"], previous["encoder"]
        assert isinstance(tokenized, Finished) and isinstance(encoded, Finished)
        self.tokenizer_config: TokenizerConfig = tokenized.config.model
        tokenizer = Tokenizer(self.tokenizer_config)
        tokenizer.load_state_dict(tokenized.part("model."))
        quantizer = tokenizer.quantizer
        predictor = Predictor(config.model, quantizer.groups, quantizer.size)
        predictor.encoder.load_state_dict(encoded.part("model."))
        self.networks = Networks(tokenizer.requires_grad_(False), predictor)
        self.expectation = Expectation(config.model.width)
        self.expectation.load_state_dict(encoded.part("expectation."))

    def train(self, mode: bool = True) -> PredictorTask:
        super().train(mode)
        self.networks.tokenizer.eval()
        return self

    @torch.no_grad()
    def prepare(self, clips: Clips) -> None:
        # From here on the tokenizer is what it is: how its faces were annotated can be measured.
        decoded, real = [], []
        for batch, d, _ in _tokenized(self.networks.tokenizer.eval(), clips):
            whole = batch.valid.all(1)
            decoded.append(d.emotion[whole].cpu())
            real.append(batch.attributes[whole].cpu())
        length = max(len(x[0]) for x in decoded if len(x))
        emotion, attributes = (
            torch.cat([x for x in part if len(x) and x.shape[1] == length]).numpy() for part in (decoded, real)
        )
        for name, values in annotation.fit(emotion, attributes).items():
            getattr(self.networks, f"annotation_{name}").copy_(torch.from_numpy(values))

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        predictor = self.networks.predictor
        with torch.no_grad():
            tokens = self.networks.tokenizer.tokens(batch.face_model, batch.attributes).indices
        past = torch.cat([torch.full_like(tokens[:, :1], predictor.size), tokens[:, :-1]], dim=1)
        speaker = batch.speaker
        if self.training:
            # A crop that begins within a clip has a past that is not told.
            speaker = without_modalities(speaker, self.config.dropouts, rng)
            past = corrupted(past, tokens, predictor.size, self.config.corruption, rng)
        memory = predictor.encoder(speaker)
        expectation = self.expectation(memory, batch)["expectation"]
        if self.training:
            unknown = torch.rand(len(memory), 1, 1, generator=rng, device=memory.device) < self.config.nobody
            memory = torch.where(unknown, predictor.nobody.to(memory.dtype), memory)
        told = {"tokens": self._surprise(predictor(past, memory, tokens), tokens, batch.valid)}
        loss = told["tokens"] + self.config.expectation * expectation
        if not self.training:
            alone = predictor.nobody.to(memory.dtype).expand_as(memory)
            told["tokens unheard"] = self._surprise(predictor(past, alone, tokens), tokens, batch.valid)
            unknown_past = torch.full_like(past, predictor.size)
            told["tokens without past"] = self._surprise(predictor(unknown_past, memory, tokens), tokens, batch.valid)
        return {"loss": loss, "expectation": expectation.detach(), **_told(told)}

    @staticmethod
    def _surprise(logits: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """() nats a frame."""
        each = F.cross_entropy(logits.float().flatten(0, 2), tokens.flatten(), reduction="none")
        return mean_over(each.view(tokens.shape).sum(-1), valid)

    def weights(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        config = ModelConfig(self.tokenizer_config, self.config.model, self.config.sampling)
        return self.networks.state_dict(), config_to(config)


def corrupted(past: Tensor, tokens: Tensor, unknown: int, how: Corruption, rng: torch.Generator) -> Tensor:
    """Past tokens (B, T, groups), some of another crop's `tokens`, some `unknown`, see `Corruption`."""
    count, frames, _ = past.shape
    device = past.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=rng, device=device)

    share = 2.0 * how.replaced * uniform(count, 1)
    others = tokens.roll(1, 0).roll(int(torch.randint(frames, (), generator=rng, device=device)), 1)
    past = torch.where((uniform(count, frames) < share).unsqueeze(-1), others, past)
    # Stretches: at each frame one ends with probability 1/25, and the next is forgotten with a share of its own.
    ends = uniform(count, frames) < 1.0 / 25.0
    stretch = ends.cumsum(1)
    forgets = uniform(count, frames) < uniform(count, 1)
    forgotten = forgets.gather(1, stretch.clamp_max(frames - 1)) & (uniform(count, 1) < how.forgotten)
    return past.masked_fill(forgotten.unsqueeze(-1), unknown)
