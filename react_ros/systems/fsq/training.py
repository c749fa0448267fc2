"""Training of the token listener: the tokenizer, the speaker encoder, then the token predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from react_ros.config import config_to, in_range, whole_in_range
from react_ros.face import (
    ARKIT,
    ATTRIBUTES,
    AU,
    EXPRESSIONS,
    FACE_MODEL,
    ROTATION_58,
    TRANSLATION_58,
    VA,
    Floats,
    SpeakerFrame,
)
from react_ros.generators.contract import Generator
from react_ros.generators.speaker_inputs import input_scheme
from react_ros.nn.face_units import ROTATION_UNIT, TRANSLATION_UNIT
from react_ros.nn.quantizers import Usage
from react_ros.nn.speaker_encoder import Expectation, SpeakerEncoder
from react_ros.systems.fsq import annotation
from react_ros.systems.fsq.model import (
    ModelConfig,
    Networks,
    Predictor,
    PredictorConfig,
    Sampling,
    Tokenizer,
    TokenizerConfig,
)
from react_ros.training.data import Batch, Clips, mean_over
from react_ros.training.expectation import emotion_losses, expectation_losses
from react_ros.training.gate import ExpectedListener
from react_ros.training.speaker_augmentation import Dropouts, Variation, statistics, varied, without_modalities
from react_ros.training.training_stage import FinishedStage, TrainingStage


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
"""The facial regions over which the poster sums its loss, as indices into the 58 coefficients; a partition of them."""


STILL = 1e-4
"""A coefficient whose standard deviation is below this in every clip does not move."""


def _default_weights() -> dict[str, float]:
    return {"brows": 1.0, "eyelids": 1.0, "gaze": 0.5, "cheeks and nose": 0.7, "mouth and jaw": 1.0, "rotation": 1.0,
            "translation": 0.3}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenizerLosses:
    """Weights of the tokenizer's losses. Raises ValueError for an unknown region or an impossible value."""

    regions: dict[str, float] = field(default_factory=_default_weights)
    """Of each region's error; regions that are not named have weight 0."""
    motion: float = 1.0
    """Of the error of the frame-to-frame difference, relative to that of the frame."""
    jerk: float = 1.0
    """Of the error of the third difference: tokens change in steps, faces move smoothly."""
    units: float = 0.7
    """Of the action units' cross-entropy."""
    affect: float = 6.0
    """Of the squared error of valence and arousal."""
    expressions: float = 0.15
    """Of the expressions' cross-entropy."""
    unlikely: float = 0.06
    """Of the error of the expressions' log probabilities, which makes small probabilities accurate."""

    def __post_init__(self) -> None:
        for name, weight in self.regions.items():
            if name not in REGIONS:
                raise ValueError(f"regions names {name!r}: the regions are {', '.join(REGIONS)}")
            in_range(f"regions.{name}", weight, 0.0, 1e3)
        for name in ("motion", "jerk", "units", "affect", "expressions", "unlikely"):
            in_range(name, getattr(self, name), 0.0, 1e3)


@dataclass(frozen=True, slots=True)
class CodeAugmentation:
    """Augmentation: replace codes with those of nearby frames, because the codes of sampled tokens fluctuate, too.

    Raises ValueError for an impossible value.
    """

    share: float = 0.1
    """Mean share of codes that are replaced."""
    reach: int = 6
    """Largest distance of the other frame, frames."""

    def __post_init__(self) -> None:
        in_range("share", self.share, 0.0, 0.5)
        whole_in_range("reach", self.reach, 1, 250, "frames")


@dataclass(frozen=True, slots=True)
class TokenizerStageConfig:
    model: TokenizerConfig = field(default_factory=TokenizerConfig)
    losses: TokenizerLosses = field(default_factory=TokenizerLosses)
    tremble: CodeAugmentation = field(default_factory=CodeAugmentation)


def augment_codes(
    latent: Tensor, valid: Tensor, groups: int, augmentation: CodeAugmentation, rng: torch.Generator
) -> Tensor:
    """Latents (B, T, dim), some groups of some frames replaced by those of nearby frames that are valid (B, T)."""
    count, frames, dim = latent.shape
    shape, device = (count, frames, groups), latent.device
    share = 2.0 * augmentation.share * torch.rand(count, 1, 1, generator=rng, device=device)
    moved = torch.rand(shape, generator=rng, device=device) < share
    offset = torch.randint(-augmentation.reach, augmentation.reach + 1, shape, generator=rng, device=device)
    here = torch.arange(frames, device=device)[:, None].expand(shape)
    source = (here + offset * moved).clamp(0, frames - 1)
    source = torch.where(valid.unsqueeze(-1).expand(shape).gather(1, source), source, here)
    each = latent.view(*shape, dim // groups)
    return each.gather(1, source.unsqueeze(-1).expand_as(each)).view_as(latent)


class TokenizerStage(TrainingStage):
    """Encodes faces and attributes as tokens, and decodes them."""

    system, stage = "fsq", "tokenizer"
    Config = TokenizerStageConfig
    needs = frozenset({"attributes", "face_model"})
    units: Tensor

    def __init__(self, config: TokenizerStageConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.losses, self.augmentation = config.losses, config.tremble
        self.model = Tokenizer(config.model)
        # So that the tanh covers all levels from the first step on, instead of rounding everything to 0.
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
            latent = augment_codes(latent, batch.valid, self.model.quantizer.groups, self.augmentation, rng)
        decoded = self.model.decode(latent)
        both = batch.valid[:, 1:] & batch.valid[:, :-1]
        error = (decoded.face.float() - batch.face_model) / self.units
        change = error[:, 1:] - error[:, :-1]
        jerk = change.diff(n=2, dim=1)
        long = batch.valid[:, 3:] & batch.valid[:, :-3]
        total, parts = error.new_zeros(()), {}
        for name, weight in self.losses.regions.items():
            own, moved = error[..., REGIONS[name]], change[..., REGIONS[name]]
            part = mean_over(own.abs() + 3.0 * own.square(), batch.valid) + self.losses.motion * mean_over(
                moved.abs(), both
            )
            part = part + self.losses.jerk * mean_over(jerk[..., REGIONS[name]].abs(), long)
            parts[name] = part.detach()
            total = total + weight * part
        emotion = emotion_losses(decoded.emotion.float(), batch.attributes, batch.valid)
        for name in ("units", "affect", "expressions", "unlikely"):
            total = total + getattr(self.losses, name) * emotion[name]
        return {"loss": total + quantized.loss, "quantizer": quantized.loss.detach(), **parts, **_detached(emotion)}

    @torch.no_grad()
    def figures(self, clips: Clips, rng: torch.Generator) -> dict[str, float]:
        """RMSE by region (weights 0 to 1, rad, m), share of wrong action units, RMSE of affect, use of codes."""
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


def _detached(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: loss.detach() for name, loss in losses.items()}


def _tokenized(model: Tokenizer, clips: Clips, most: int = 100) -> Any:
    """(batch, Decoded, indices) of at most `most` clips, evenly spread over all, 10 at a time."""
    device = next(model.parameters()).device
    chosen = np.unique(np.linspace(0, len(clips) - 1, min(most, len(clips))).round().astype(np.int64))
    for k in range(0, len(chosen), 10):
        part = chosen[k : k + 10]
        batch = clips.batch(part, np.zeros_like(part), int(clips.lengths[part].max())).to(device)
        decoded, quantized = model(batch.face_model, batch.attributes)
        yield batch, decoded, quantized.indices


@dataclass(frozen=True, slots=True)
class EncoderStageConfig:
    model: PredictorConfig = field(default_factory=PredictorConfig)
    """Of the predictor whose encoder is trained; must equal that of the predictor stage."""
    dropouts: Dropouts = field(default_factory=Dropouts)
    variation: Variation = field(default_factory=Variation)


class EncoderStage(TrainingStage):
    """Pre-trains the predictor's speaker encoder to regress the mean reaction."""

    system, stage = "fsq", "encoder"
    Config = EncoderStageConfig
    needs = frozenset({"attributes", "face_model"})

    def __init__(self, config: EncoderStageConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.dropouts, self.variation = config.dropouts, config.variation
        model = config.model
        self.columns = input_scheme(model.inputs)
        self.model = SpeakerEncoder(self.columns, model.width, model.encoder_layers, model.dropout)
        self.expectation = Expectation(model.width, activity=model.activity)

    @classmethod
    def inputs(cls, config: EncoderStageConfig) -> str:
        return config.model.inputs

    def prepare(self, clips: Clips) -> None:
        mean, deviation = statistics(clips)
        self.model.fit(mean, deviation)

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        speaker = batch.speaker
        if self.training:
            speaker = varied(speaker, self.columns, self.variation, rng)
            speaker = without_modalities(speaker, self.columns, self.dropouts, rng)
        losses = expectation_losses(self.expectation, self.model(speaker), batch)
        return {"loss": losses.pop("expectation"), **_detached(losses)}

    def listener(self) -> Generator:
        """The expected reaction as the only listener."""
        return ExpectedListener(self.system, self.expected)

    @torch.no_grad()
    def expected(self, frames: Sequence[SpeakerFrame]) -> tuple[Floats, Floats]:
        """(T, 58) expected face and (T, 25) attributes; weights 0 to 1, rad, m."""
        rows = torch.from_numpy(self.columns.rows(frames)).to(self.expectation.units.device)
        reaction = self.expectation(self.model(rows[None]))[0].float()
        emotion, face = reaction[:, :ATTRIBUTES], reaction[:, ATTRIBUTES : ATTRIBUTES + FACE_MODEL]
        face = face * self.expectation.units
        attributes = torch.cat(
            [emotion[:, AU].sigmoid(), emotion[:, VA].clamp(-1.0, 1.0), emotion[:, EXPRESSIONS].softmax(-1)], dim=-1
        )
        return face.cpu().numpy(), attributes.cpu().numpy()


@dataclass(frozen=True, slots=True)
class Corruption:
    """Augmentation of past tokens, so that the predictor does not merely continue them.

    Past frames nearly determine the next one: a predictor with the true past copies it and ignores the speaker. Raises
    ValueError for an impossible value.
    """

    replaced: float = 0.05
    """Mean share of past tokens replaced by those of another listener."""
    forgotten: float = 0.6
    """Probability that parts of the past are masked; then a random share of it, in stretches of about a second."""

    def __post_init__(self) -> None:
        for name in ("replaced", "forgotten"):
            in_range(name, getattr(self, name), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class PredictorStageConfig:
    model: PredictorConfig = field(default_factory=PredictorConfig)
    dropouts: Dropouts = field(default_factory=Dropouts)
    variation: Variation = field(default_factory=Variation)
    corruption: Corruption = field(default_factory=Corruption)
    nobody: float = 0.15
    """Probability that the speaker is masked, for classifier-free guidance, see `Sampling.guidance`."""
    expectation: float = 0.5
    """Weight of the encoder's loss (`expectation_losses`)."""
    freeze: bool = False
    """Whether the pre-trained encoder stays as it is."""
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        in_range("nobody", self.nobody, 0.0, 0.9)
        in_range("expectation", self.expectation, 0.0, 100.0)


class PredictorStage(TrainingStage):
    """Predicts the listener's next token from their past tokens and the encoded speaker."""

    system, stage = "fsq", "predictor"
    Config = PredictorStageConfig
    needs = frozenset({"attributes", "face_model"})
    judged_by = "tokens"

    @classmethod
    def expect_fit(cls, config: PredictorStageConfig, previous: Mapping[str, Any]) -> None:
        if previous["encoder"].model != config.model:
            raise ValueError("stages.encoder.stage.model and stages.predictor.stage.model must be the same")

    @classmethod
    def inputs(cls, config: PredictorStageConfig) -> str:
        return config.model.inputs

    def __init__(self, config: PredictorStageConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config, self.columns = config, input_scheme(config.model.inputs)
        tokenized, encoded = previous["tokenizer"], previous["encoder"]
        assert isinstance(tokenized, FinishedStage) and isinstance(encoded, FinishedStage)
        self.tokenizer_config: TokenizerConfig = tokenized.config.model
        tokenizer = Tokenizer(self.tokenizer_config)
        tokenizer.load_state_dict(tokenized.part("model."))
        quantizer = tokenizer.quantizer
        predictor = Predictor(config.model, quantizer.groups, quantizer.size)
        predictor.encoder.load_state_dict(encoded.part("model."))
        bottleneck = config.model.speaker == "expectation"
        expectation = (
            predictor.expectation if bottleneck else Expectation(config.model.width, activity=config.model.activity)
        )
        expectation.load_state_dict(encoded.part("expectation."))
        if config.freeze:
            predictor.encoder.requires_grad_(False)
            expectation.requires_grad_(False)
        self.networks = Networks(tokenizer.requires_grad_(False), predictor)
        if not bottleneck:
            self.expectation = expectation

    def train(self, mode: bool = True) -> PredictorStage:
        super().train(mode)
        self.networks.tokenizer.eval()
        if self.config.freeze:
            self.networks.predictor.encoder.eval()
        return self

    @torch.no_grad()
    def prepare(self, clips: Clips) -> None:
        # The tokenizer is frozen from here on: the annotation model can be fitted to its outputs.
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
            speaker = varied(speaker, self.columns, self.config.variation, rng)
            speaker = without_modalities(speaker, self.columns, self.config.dropouts, rng)
            past = corrupted(past, tokens, predictor.size, self.config.corruption, rng)
        encoding = predictor.encoder(speaker)
        known = predictor.expectation if self.config.model.speaker == "expectation" else self.expectation
        expectation = expectation_losses(known, encoding, batch)["expectation"]
        memory = predictor.told(encoding)
        if self.training:
            unknown = torch.rand(len(memory), 1, 1, generator=rng, device=memory.device) < self.config.nobody
            memory = torch.where(unknown, predictor.nobody.to(memory.dtype), memory)
        logged = {"tokens": self._cross_entropy(predictor(past, memory, tokens), tokens, batch.valid)}
        loss = logged["tokens"] + self.config.expectation * expectation
        if not self.training:
            alone = predictor.nobody.to(memory.dtype).expand_as(memory)
            logged["tokens without speaker"] = self._cross_entropy(predictor(past, alone, tokens), tokens, batch.valid)
            unknown_past = torch.full_like(past, predictor.size)
            logged["tokens without past"] = self._cross_entropy(
                predictor(unknown_past, memory, tokens), tokens, batch.valid
            )
        return {"loss": loss, "expectation": expectation.detach(), **_detached(logged)}

    @staticmethod
    def _cross_entropy(logits: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """() mean over valid frames, nats a frame."""
        each = F.cross_entropy(logits.float().flatten(0, 2), tokens.flatten(), reduction="none")
        return mean_over(each.view(tokens.shape).sum(-1), valid)

    def weights(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        config = ModelConfig(self.tokenizer_config, self.config.model, self.config.sampling)
        return self.networks.state_dict(), config_to(config)


def corrupted(past: Tensor, tokens: Tensor, unknown: int, corruption: Corruption, rng: torch.Generator) -> Tensor:
    """Past tokens (B, T, groups), some replaced by another crop's `tokens`, some by `unknown`, see `Corruption`."""
    count, frames, _ = past.shape
    device = past.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=rng, device=device)

    share = 2.0 * corruption.replaced * uniform(count, 1)
    others = tokens.roll(1, 0).roll(int(torch.randint(frames, (), generator=rng, device=device)), 1)
    past = torch.where((uniform(count, frames) < share).unsqueeze(-1), others, past)
    # Stretches end with probability 1/25 a frame; each is masked with a probability sampled once per crop.
    ends = uniform(count, frames) < 1.0 / 25.0
    stretch = ends.cumsum(1)
    forgets = uniform(count, frames) < uniform(count, 1)
    forgotten = forgets.gather(1, stretch.clamp_max(frames - 1)) & (uniform(count, 1) < corruption.forgotten)
    return past.masked_fill(forgotten.unsqueeze(-1), unknown)
