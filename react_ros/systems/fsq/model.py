"""The networks of the token listener: a tokenizer of faces, and a transformer that predicts the next token.

After Dam et al., "Facial Reaction Generation with Finite Scalar Quantization and Cross-modality Transformer" (REACT
2024): a listener's state in one frame is one token; tokens are predicted one after the other from the listener's own
past and from the speaker's sound and face. Choices that the poster leaves open are marked where they are made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from react_ros.config import in_range, whole_in_range
from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, FACE_MODEL, VA
from react_ros.generators.speaker_inputs import RUNNING_MEAN, input_scheme
from react_ros.nn.attention import CausalConv1d, ConvolutionCache, DecoderLayer, LayerCache
from react_ros.nn.face_units import face_units
from react_ros.nn.quantizers import Quantized, Quantizer, QuantizerConfig
from react_ros.nn.speaker_encoder import Expectation, SpeakerEncoder
from react_ros.systems.fsq.annotation import Annotation

_SHAPE_UNIT = 0.25
"""Scale of blendshapes at the tokenizer's input."""
_LEAST_PROBABILITY = 1e-3
LEAST_TEMPERATURE = 1e-3
"""Effectively greedy: the most likely token."""


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """Sizes of the tokenizer. Raises ValueError for an impossible value."""

    width: int = 96
    kernel: int = 3
    dilations: tuple[int, ...] = (1, 2, 4)
    """Dilations of the causal convolutions, frames; with kernel 3 the receptive field is 15 frames."""
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)

    def __post_init__(self) -> None:
        whole_in_range("width", self.width, 4, 4096)
        whole_in_range("kernel", self.kernel, 1, 25, "frames")
        if not self.dilations:
            raise ValueError("dilations are empty: there is at least one convolution")
        for i, dilation in enumerate(self.dilations):
            whole_in_range(f"dilations[{i}]", dilation, 1, 250, "frames")


@dataclass(frozen=True, slots=True)
class PredictorConfig:
    """Sizes of the predictor. Raises ValueError for an impossible value."""

    width: int = 128
    layers: int = 3
    heads: int = 4
    feedforward: int = 384
    self_window: int = 75
    """Frames of the listener's own past in the self-attention."""
    cross_window: int = 75
    """Frames of the encoded speaker in the cross-attention; the encoder's own memory is longer."""
    encoder_layers: int = 2
    dropout: float = 0.1
    inputs: str = RUNNING_MEAN.name
    """The rows of the speaker, see `InputScheme`."""
    speaker: Literal["encoding", "expectation"] = "encoding"
    """What the layers are told of the speaker: the encoder's output, or only the 83 numbers of the mean reaction that
    was regressed from it. The second leaves no room for particulars of the training speakers."""
    activity: bool = False
    """Whether the regression tells beside the mean reaction how much the head is about to move (`Expectation`): the
    mean of nods at different moments is a still head."""

    def __post_init__(self) -> None:
        whole_in_range("width", self.width, 4, 4096)
        whole_in_range("layers", self.layers, 1, 48)
        whole_in_range("heads", self.heads, 1, 64)
        if self.width % self.heads:
            raise ValueError(f"width is {self.width} with {self.heads} heads: the heads must share it equally")
        whole_in_range("feedforward", self.feedforward, 1, 65536)
        whole_in_range("self_window", self.self_window, 1, 10_000, "frames")
        whole_in_range("cross_window", self.cross_window, 1, 10_000, "frames")
        whole_in_range("encoder_layers", self.encoder_layers, 1, 8)
        in_range("dropout", self.dropout, 0.0, 0.9)
        input_scheme(self.inputs)
        if self.speaker not in ("encoding", "expectation"):
            raise ValueError(f"speaker is {self.speaker!r}: it must be encoding or expectation")


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling of tokens. Raises ValueError for an impossible value."""

    temperature: float = 1.0
    top_p: float = 1.0
    """Sample from the most likely codes of this total probability (Holtzman et al. 2020)."""
    forgetting: float = 0.0
    """Share by which the listener's own past is ignored: the distribution is the weighted geometric mean of those with
    and without the past. A predictor that relies on the past alone continues as before and does not react."""
    guidance: float = 0.0
    """Extra weight of the speaker by classifier-free guidance (Ho and Salimans 2022); exaggerates."""

    def __post_init__(self) -> None:
        in_range("temperature", self.temperature, 0.0, 10.0)
        in_range("top_p", self.top_p, 0.01, 1.0)
        in_range("forgetting", self.forgetting, 0.0, 1.0)
        in_range("guidance", self.guidance, 0.0, 10.0)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The config in the weights' YAML: sizes of the networks, and sampling."""

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    sampling: Sampling = field(default_factory=Sampling)


class Decoded(NamedTuple):
    """Decoded tokens of (…) frames."""

    face: Tensor
    """(…, 58) blendshapes, rad, m; not clipped."""
    emotion: Tensor
    """(…, 25): logits of action units, valence and arousal, logits of expressions."""


class _Block(nn.Module):
    """A residual causal convolution."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = CausalConv1d(width, width, kernel, dilation)
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(F.gelu(self.convolution(self.norm(x))))

    def step(self, x: Tensor, cache: ConvolutionCache, position: Tensor) -> Tensor:
        return x + self.mix(F.gelu(self.convolution.step(self.norm(x), cache, position)))


class TokenizerCache(NamedTuple):
    """State of the decoders of a stream."""

    convolutions: list[ConvolutionCache]
    shown: Tensor
    """(S, 58) in the networks' units: the face of the former frame."""

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors that `Tokenizer.step` changes in place."""
        return [*(cache.frames for cache in self.convolutions), self.shown]


class Tokenizer(nn.Module):
    """Faces to tokens and back: a causal encoder, a quantizer, and the decoders D_3dmm and D_emotion.

    Tokens are discrete, faces move continuously. So D_3dmm decodes a target y and a gate g (0 to 1, for each
    coefficient): face(t) = face(t - 1) + g(t) (y(t) - face(t - 1)).
    """

    units: Tensor
    moves: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width

        def stack(dilations: tuple[int, ...]) -> nn.ModuleList:
            return nn.ModuleList(_Block(width, config.kernel, d) for d in dilations)

        self.quantizer = Quantizer(config.quantizer)
        self.encoder_in = nn.Linear(FACE_MODEL + ATTRIBUTES, width)
        self.encoder = stack(config.dilations)
        self.encoder_out = nn.Linear(width, self.quantizer.dim)
        self.decoder_in = nn.Linear(self.quantizer.dim, width)
        self.decoder = stack(config.dilations)
        self.face_norm = nn.LayerNorm(width)
        self.face = nn.Linear(width, FACE_MODEL)
        self.pace = nn.Linear(width, FACE_MODEL)
        self.emotion_decoder = stack(config.dilations[:2])
        self.emotion_norm = nn.LayerNorm(width)
        self.emotion = nn.Linear(width, ATTRIBUTES)
        self.register_buffer("units", face_units(), persistent=False)
        self.register_buffer("moves", torch.ones(FACE_MODEL))
        """1 for coefficients that moved in training, 0 for the others, which stay exactly at rest."""

    def forward(self, face_model: Tensor, attributes: Tensor, valid: Tensor | None = None) -> tuple[Decoded, Quantized]:
        """(B, T, 58) and (B, T, 25) of real listeners to the decoded tokens, and the tokens.

        valid: (B, T) bool, see `Quantizer`.
        """
        quantized = self.tokens(face_model, attributes, valid)
        return self.decode(quantized.latent), quantized

    def tokens(self, face_model: Tensor, attributes: Tensor, valid: Tensor | None = None) -> Quantized:
        """(B, T, 58) and (B, T, 25) to tokens; that of frame t depends on frames up to t."""
        face = torch.cat([face_model[..., :52] / _SHAPE_UNIT, face_model[..., 52:] / self.units[52:]], dim=-1)
        expressions = (attributes[..., EXPRESSIONS] + _LEAST_PROBABILITY).log() / 2.0
        x = torch.cat([face, attributes[..., AU], 3.0 * attributes[..., VA], expressions], dim=-1)
        x = self.encoder_in(x)
        for block in self.encoder:
            x = block(x)
        return self.quantizer(self.encoder_out(x).float(), valid)

    def decode(self, latent: Tensor) -> Decoded:
        """(B, T, dim) latents of tokens to faces; that of frame t depends on tokens up to t."""
        x = self.decoder_in(latent)
        for block in self.decoder:
            x = block(x)
        target, gate = self._target(x)
        shown = [target[:, 0]]
        for y, g in zip(target[:, 1:].unbind(1), gate[:, 1:].unbind(1), strict=True):
            shown.append(torch.lerp(shown[-1], y, g))
        face = torch.stack(shown, dim=1) * (self.units * self.moves)
        for block in self.emotion_decoder:
            x = block(x)
        return Decoded(face, self.emotion(self.emotion_norm(x)))

    def start(self, batch: int) -> TokenizerCache:
        """Caches of `batch` streams of tokens, on the weights' device."""
        blocks = cast("list[_Block]", [*self.decoder, *self.emotion_decoder])
        shown = self.units.new_zeros(batch, FACE_MODEL)
        return TokenizerCache([block.convolution.start(batch) for block in blocks], shown)

    def step(self, indices: Tensor, cache: TokenizerCache, position: Tensor) -> Decoded:
        """Frame `position` () of each stream: (S, groups) indices to (S, 58) and (S, 25)."""
        x = self.decoder_in(self.quantizer.decode(indices))
        caches = iter(cache.convolutions)
        for block in cast("list[_Block]", self.decoder):
            x = block.step(x, next(caches), position)
        target, gate = self._target(x)
        # The first frame has no former one: it is the target itself.
        cache.shown.lerp_(target, torch.where(position == 0, 1.0, gate))
        face = cache.shown * (self.units * self.moves)
        for block in cast("list[_Block]", self.emotion_decoder):
            x = block.step(x, next(caches), position)
        return Decoded(face, self.emotion(self.emotion_norm(x)))

    def _target(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(…, width) to targets y and gates g, (…, 58) each."""
        x = self.face_norm(x)
        return self.face(x), self.pace(x).sigmoid()


class Predictor(nn.Module):
    """The next token of a listener, from its own past tokens and the speaker's frames so far.

    The groups of a token are sampled one after the other, each given the former ones. Past tokens may be masked (index
    `size`), as at the beginning; the speaker may be masked too (`nobody`, a learned vector).
    """

    def __init__(self, config: PredictorConfig, groups: int, size: int) -> None:
        super().__init__()
        self.config, self.groups, self.size = config, groups, size
        width = config.width
        self.encoder = SpeakerEncoder(input_scheme(config.inputs), width, config.encoder_layers, config.dropout)
        if config.speaker == "expectation":
            self.expectation = Expectation(width, activity=config.activity)
            self.expected_in = nn.Linear(self.expectation.outputs, width)
        self.nobody = nn.Parameter(torch.zeros(width))
        self.speaker_in = nn.Linear(width, width)
        self.past = nn.ModuleList(nn.Embedding(size + 1, width) for _ in range(groups))
        self.layers = nn.ModuleList(
            DecoderLayer(
                width, config.heads, width, config.self_window, config.cross_window, config.feedforward, config.dropout
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        # Embeddings of the groups before; `said` is their name in shipped weights.
        self.said = nn.ModuleList(nn.Embedding(size, width) for _ in range(groups - 1))
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(groups))
        self.choose = nn.ModuleList(nn.Linear(width, size) for _ in range(groups))

    def forward(self, past: Tensor, memory: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, T, groups, size) of frame t's token.

        past: (B, T, groups), the token of frame t - 1, `size` where masked. memory: (B, T, width) of `told`.
        tokens: (B, T, groups), the token of frame t: the logits of a group depend on the groups before it.
        """
        x = self._run(past, memory)
        out = []
        for group in range(self.groups):
            out.append(self._logits(x, group))
            if group < self.groups - 1:
                x = x + self.said[group](tokens[..., group])
        return torch.stack(out, dim=-2)

    def told(self, encoding: Tensor) -> Tensor:
        """(…, width) of the encoder to what the layers are told of the speaker, (…, width)."""
        if self.config.speaker == "encoding":
            return encoding
        return self.expected_in(self.expectation.reaction(encoding))

    def start(self, samples: int) -> list[LayerCache]:
        """Caches for `samples` listeners of one speaker, and one more whose past is masked; on the weights' device."""
        return [layer.start(samples + 1, 1) for layer in cast("list[DecoderLayer]", self.layers)]

    def step(self, past: Tensor, memory: Tensor, caches: list[LayerCache], position: Tensor) -> Tensor:
        """Frame `position` (): past (S, groups) and memory (1, width) to (S + 1, width), the input of `sample`.

        The last row is that of a listener whose past is masked.
        """
        x = self._embed_past(F.pad(past, (0, 0, 0, 1), value=self.size)) + self.speaker_in(memory)
        for layer, cache in zip(cast("list[DecoderLayer]", self.layers), caches, strict=True):
            x = layer.step(x, memory, cache, position)
        return self.norm(x)

    def unconditional(self) -> Tensor:
        """(1, width): the output of `step` with masked past and masked speaker, a constant.

        All frames that the attentions see are then equal, so the attention weights have no influence.
        """
        memory = self.nobody[None, None]
        return self._run(torch.full((1, 1, self.groups), self.size, device=memory.device), memory)[0]

    def sample(self, x: Tensor, unconditional: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
        """(S, groups) tokens by inverting the cumulative distribution at `uniform` (S, groups), 0 to 1.

        x: (S + 1, width) of `step`. unconditional: (1, width). With l(past, speaker) and - for masked, the logits are
        l(past, speaker) + forgetting (l(-, speaker) - l(past, speaker)) + guidance (l(-, speaker) - l(-, -)).
        """
        samples = len(uniform)
        x = torch.cat([x[:-1], x[-1:].expand(samples, -1), unconditional.expand(samples, -1)])
        tokens = []
        for group in range(self.groups):
            full, no_past, nothing = self._logits(x, group).log_softmax(-1).split(samples)
            logits = full + sampling.forgetting * (no_past - full) + sampling.guidance * (no_past - nothing)
            probability, order = (
                (logits / max(sampling.temperature, LEAST_TEMPERATURE)).softmax(-1).sort(descending=True)
            )
            kept = probability.cumsum(-1) - probability < sampling.top_p
            cumulative = (probability * kept).cumsum(-1)
            place = (
                (cumulative < uniform[:, group, None] * cumulative[:, -1:])
                .sum(-1, keepdim=True)
                .clamp_max(self.size - 1)
            )
            token = order.gather(1, place).squeeze(1)
            tokens.append(token)
            if group < self.groups - 1:
                x = x + self.said[group](token).repeat(3, 1)
        return torch.stack(tokens, dim=1)

    def _run(self, past: Tensor, memory: Tensor) -> Tensor:
        x = self._embed_past(past) + self.speaker_in(memory)
        for layer in self.layers:
            x = layer(x, memory)
        return self.norm(x)

    def _embed_past(self, tokens: Tensor) -> Tensor:
        x = self.past[0](tokens[..., 0])
        for group in range(1, self.groups):
            x = x + self.past[group](tokens[..., group])
        return x

    def _logits(self, x: Tensor, group: int) -> Tensor:
        return self.choose[group](F.gelu(self.hidden[group](x)))


class Networks(nn.Module):
    """All networks in the weights."""

    def __init__(self, tokenizer: Tokenizer, predictor: Predictor) -> None:
        super().__init__()
        self.tokenizer, self.predictor = tokenizer, predictor
        for name, size in Annotation.PARAMETERS.items():
            self.register_buffer(f"annotation_{name}", torch.zeros(size))
